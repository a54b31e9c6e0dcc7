// How long the background fill leaves a source alone that refuses what it is asked for, or gives it
// wrong. A blob that is gone may be pushed again, and credentials may come; but the fill of each
// layer, asking every second for as long as a container runs, would be a burden to the registry and
// its token server.
#pragma once

#include <algorithm>

#include "base/clock.h"

namespace runnel::cache {

// One thread at a time.
class Refusals {
 public:
  // Doubles the rest, unless it has one: what is asked for at the same time is refused together.
  void refused(SteadyTime now) {
    if (rests(now)) return;
    rest_ = std::clamp(2 * rest_, kFirst, kLongest);
    until_ = now + rest_;
  }
  // It gave something, or may from now on.
  void end() { *this = {}; }

  bool rests(SteadyTime now) const { return now < until_; }

 private:
  static constexpr Duration kFirst = std::chrono::seconds(1);
  static constexpr Duration kLongest = std::chrono::seconds(60);

  Duration rest_{};
  SteadyTime until_{};
};

}  // namespace runnel::cache
