#include "node/mirrored_hosts.h"

#include <algorithm>
#include <filesystem>

#include "base/fd.h"

namespace runnel::node {

namespace fs = std::filesystem;

namespace {
constexpr uint64_t kMaxHostsFile = 1 << 20;
}

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
    if (through) hosts.push_back(entry.path().filename().string());
  }
  std::ranges::sort(hosts);
  return hosts;
}

}  // namespace runnel::node
