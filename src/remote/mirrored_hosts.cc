#include "remote/mirrored_hosts.h"

#include <algorithm>
#include <filesystem>

#include "base/fd.h"

namespace runnel::remote {

namespace fs = std::filesystem;

namespace {

constexpr uint64_t kMaxHostsFile = 1 << 20;

// containerd looks for "HOST_PORT_" before "HOST:PORT".
std::string host_of_directory(const std::string& name) {
  const auto port = name.ends_with('_') ? name.rfind('_', name.size() - 2) : std::string::npos;
  if (port == std::string::npos || port == 0) return name;
  return name.substr(0, port) + ":" + name.substr(port + 1, name.size() - port - 2);
}

}  // namespace

std::vector<std::string> mirrored_hosts(const std::string& hosts_dir, const std::string& mirror) {
  std::vector<std::string> hosts;
  const auto port = mirror.substr(mirror.rfind(':') + 1);
  std::error_code error;
  for (const auto& entry : fs::directory_iterator(hosts_dir, error)) {
    const auto file = read_file(entry.path().string() + "/hosts.toml", kMaxHostsFile);
    if (!file) continue;
    const auto text = as_text(*file);
    const bool through =
        text.contains("//" + mirror + "\"") || text.contains("//localhost:" + port + "\"");
    if (through) hosts.push_back(host_of_directory(entry.path().filename().string()));
  }
  std::ranges::sort(hosts);
  return hosts;
}

}  // namespace runnel::remote
