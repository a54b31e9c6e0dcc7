#include "fetch/background_gate.h"

#include <algorithm>

namespace runnel::fetch {

bool BackgroundGate::is_quiet(SteadyTime now) const {
  return !since_ || (!busy_ && now - last_ >= kQuiet);
}

void BackgroundGate::note(bool busy, SteadyTime now) {
  if (busy && is_quiet(now)) since_ = now;
  if (busy || busy_) last_ = now;
  busy_ = busy;
}

size_t BackgroundGate::allowed(size_t most, SteadyTime now) const {
  if (is_quiet(now)) return most;
  return now - *since_ >= kPatience ? std::min<size_t>(most, 1) : 0;
}

SteadyTime BackgroundGate::next_change(SteadyTime now) const {
  if (is_quiet(now)) return SteadyTime::max();
  auto next = busy_ ? SteadyTime::max() : last_ + kQuiet;
  if (now - *since_ < kPatience) next = std::min(next, *since_ + kPatience);
  return next;
}

}  // namespace runnel::fetch
