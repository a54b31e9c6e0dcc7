// One direction of a line: bytes leave it one after another at its rate, and arrive a fixed time
// later. Pure arithmetic on the times it is given, so that equal input gives equal times.
//
// TCP's slow start, losses and jitter are not modelled: what is compared on such a line differs in
// round trips and bytes, which is what a cold start is made of.
#pragma once

#include <algorithm>
#include <cstdint>

#include "base/clock.h"

namespace runnel::netsim {

class Link {
 public:
  // 0 bytes per second: as fast as they come.
  Link(uint64_t bytes_per_second, Duration delay) : rate_(bytes_per_second), delay_(delay) {}

  // The line is taken until then.
  SteadyTime free_at() const { return free_at_; }

  // Sends bytes that have been ready since `ready`, after everything sent before; returns when they
  // arrive. That may be in the past, when whoever asks was late: the line itself never waits.
  SteadyTime send(uint64_t bytes, SteadyTime ready) {
    free_at_ = std::max(free_at_, ready) + duration_of(bytes);
    return free_at_ + delay_;
  }

 private:
  Duration duration_of(uint64_t bytes) const {
    if (rate_ == 0) return Duration::zero();
    const double seconds = static_cast<double>(bytes) / static_cast<double>(rate_);
    return std::chrono::duration_cast<Duration>(std::chrono::duration<double>(seconds));
  }

  uint64_t rate_;
  Duration delay_;
  SteadyTime free_at_{};
};

}  // namespace runnel::netsim
