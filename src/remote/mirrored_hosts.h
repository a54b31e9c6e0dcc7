// Which registries containerd reaches through our mirror: what its hosts.toml files say.
#pragma once

#include <string>
#include <vector>

namespace runnel::remote {

// The hosts of which a hosts.toml below `hosts_dir` names the mirror (ADDR:PORT), sorted;
// "_default" stands for every registry without a directory.
std::vector<std::string> mirrored_hosts(const std::string& hosts_dir, const std::string& mirror);

}  // namespace runnel::remote
