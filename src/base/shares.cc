#include "base/shares.h"

namespace runnel {

std::optional<Shares::Place> Shares::take(const std::string& party) {
  const std::lock_guard lock(mutex_);
  const auto found = taken_.find(party);
  const size_t before = found == taken_.end() ? 0 : found->second;
  if (before >= most_of_one_ || all_taken_ >= most_of_all_) return std::nullopt;
  taken_.insert_or_assign(party, before + 1);
  ++all_taken_;
  return Place(*this, party);
}

void Shares::give_back(const std::string& party) {
  const std::lock_guard lock(mutex_);
  const auto found = taken_.find(party);
  if (--found->second == 0) taken_.erase(found);
  --all_taken_;
}

}  // namespace runnel
