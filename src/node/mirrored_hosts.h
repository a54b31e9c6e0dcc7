// Which registries containerd reaches through our mirror: what its hosts.toml files say.
#pragma once

#include <string>
#include <vector>

namespace runnel::node {

// The names of the directories below `hosts_dir` whose hosts.toml names the mirror (ADDR:PORT),
// sorted; "_default" stands for every registry without a directory.
std::vector<std::string> mirrored_hosts(const std::string& hosts_dir, const std::string& mirror);

}  // namespace runnel::node
