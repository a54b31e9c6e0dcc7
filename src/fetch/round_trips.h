// How far away a registry is, from what its answers took.
//
// The least of the last few: waits behind other bytes, a busy server or a new connection's
// handshakes make single answers slower, nothing makes one faster than the way there and back.
#pragma once

#include <algorithm>
#include <array>

#include "base/clock.h"

namespace runnel::fetch {

class RoundTrips {
 public:
  void add(Duration taken) { last_[count_++ % last_.size()] = taken; }

  // Zero before the first one.
  Duration least() const {
    if (count_ == 0) return Duration::zero();
    const auto end = last_.begin() + static_cast<ptrdiff_t>(std::min(count_, last_.size()));
    return *std::min_element(last_.begin(), end);
  }

 private:
  std::array<Duration, 16> last_{};
  size_t count_ = 0;
};

}  // namespace runnel::fetch
