// containerd's hosts.toml: how one registry is reached. Read here for the registry itself; the
// mirrors that stand in it are only looked at to see whether we are one of them.
//
//   server = "https://registry.example"     where it is; default: https://HOST
//   ca = "/path.pem" | ["/a.pem", …]        these lines are about `server`,
//   client = "/both.pem" | ["/both.pem", ["/cert.pem", "/key.pem"], …]
//   skip_verify = true
//   [header]
//     name = "value" | ["value", …]
//   [host."https://mirror.example"]         and the same keys in here about that host
//
// (containerd: docs/hosts.md. Relative paths are seen from the file's directory. Of several client
// certificates the first is used.) Unknown keys are containerd's business.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "base/error.h"
#include "remote/hosts.h"

namespace runnel::remote {

struct HostsFile {
  HostSettings settings;             // of the registry itself
  std::vector<std::string> mirrors;  // the [host] tables, in their order: "http://127.0.0.1:8578"
};

// The file of `host`, found as containerd finds it: DIR/HOST_PORT_, DIR/HOST:PORT; with `defaults`
// also DIR/_default. kNotFound only when there is none; otherwise as parse_hosts_file().
Result<HostsFile> read_hosts_file(const std::string& directory, std::string_view host,
                                  bool defaults);

// The same from a text; `path` stands in messages, and relative paths are seen from its directory.
// Reads the files of `ca`. kInvalid when it makes no sense or names a file that is not there,
// kUnsupported when we cannot do what it says.
Result<HostsFile> parse_hosts_file(std::string_view text, const std::string& path);

}  // namespace runnel::remote
