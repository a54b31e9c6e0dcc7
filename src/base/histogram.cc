#include "base/histogram.h"

#include <algorithm>

namespace runnel {

void Histogram::add(Duration duration) {
  const double seconds = std::chrono::duration<double>(duration).count();
  const auto at = std::ranges::lower_bound(kBounds, seconds) - kBounds.begin();
  counts_[static_cast<size_t>(at)].fetch_add(1, std::memory_order_relaxed);
  const auto microseconds = std::chrono::duration_cast<std::chrono::microseconds>(duration).count();
  sum_us_.fetch_add(static_cast<uint64_t>(std::max<int64_t>(microseconds, 0)),
                    std::memory_order_relaxed);
}

Histogram::Snapshot Histogram::snapshot() const {
  Snapshot snapshot;
  for (size_t i = 0; i < counts_.size(); ++i) snapshot.counts[i] = counts_[i];
  snapshot.sum_s = static_cast<double>(sum_us_) / 1e6;
  return snapshot;
}

}  // namespace runnel
