#include "mirror/host_shares.h"

namespace runnel::mirror {

std::optional<HostShares::Place> HostShares::take(const std::string& host) {
  const std::lock_guard lock(mutex_);
  const auto found = taken_.find(host);
  const size_t before = found == taken_.end() ? 0 : found->second;
  if (before >= most_of_one_ || all_taken_ >= most_of_all_) return std::nullopt;
  taken_.insert_or_assign(host, before + 1);
  ++all_taken_;
  return Place(*this, host);
}

void HostShares::give_back(const std::string& host) {
  const std::lock_guard lock(mutex_);
  const auto found = taken_.find(host);
  if (--found->second == 0) taken_.erase(found);
  --all_taken_;
}

}  // namespace runnel::mirror
