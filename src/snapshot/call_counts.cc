#include "snapshot/call_counts.h"

namespace runnel::snapshot {

void CallCounts::add(const std::string& call, const std::string& code, Duration duration) {
  const std::lock_guard lock(mutex_);
  ++counts_[{call, code}];
  durations_[call].add(duration);
}

CallCounts::Snapshot CallCounts::snapshot() const {
  Snapshot snapshot;
  const std::lock_guard lock(mutex_);
  snapshot.counts = counts_;
  for (const auto& [call, durations] : durations_) {
    snapshot.durations[call] = durations.snapshot();
  }
  return snapshot;
}

}  // namespace runnel::snapshot
