#include "node/left_mounts.h"

#include <algorithm>

namespace runnel::node {

namespace {

constexpr size_t kHexDigits = 64;

// Empty for a mount that no version of the node has made.
std::string subject_of(const std::string& mount) {
  const auto subject = mount.substr(0, mount.find('-'));
  const bool is_hex = subject.find_first_not_of("0123456789abcdef") == std::string::npos;
  return subject.size() == kHexDigits && mount.size() > kHexDigits && is_hex ? subject
                                                                             : std::string();
}

}  // namespace

std::vector<std::string> left_mounts(const std::vector<std::string>& mounts,
                                     const KnownImages& known, const std::set<std::string>& held) {
  std::vector<std::string> left;
  if (!std::ranges::includes(known.chain_ids, held)) return left;
  for (const auto& mount : mounts) {
    const auto subject = subject_of(mount);
    if (!subject.empty() && !known.subjects.contains(subject) && !known.damaged.contains(subject))
      left.push_back(mount);
  }
  return left;
}

}  // namespace runnel::node
