#include "node/old_verdicts.h"

#include <algorithm>
#include <span>

namespace runnel::node {

std::vector<oci::Digest> verdicts_to_forget(std::vector<OldVerdict> verdicts, size_t most) {
  if (verdicts.size() <= most) return {};
  const auto surplus = static_cast<ptrdiff_t>(verdicts.size() - most);
  std::ranges::nth_element(verdicts, verdicts.begin() + surplus, {}, &OldVerdict::decided);
  std::vector<oci::Digest> oldest;
  for (const auto& each : std::span(verdicts).first(static_cast<size_t>(surplus)))
    oldest.push_back(each.image);
  return oldest;
}

}  // namespace runnel::node
