// When background reads may be sent. They share the line with whoever waits for bytes, and six of
// them take most of it: a start of 4 s takes 15 s beside them. So they wait until nobody has asked
// for anything for a while, and go on one by one when that does not come. No I/O and no clock of
// its own. Internal to fetch/.
#pragma once

#include <cstddef>
#include <optional>

#include "base/clock.h"

namespace runnel::fetch {

// One thread at a time.
class BackgroundGate {
 public:
  // Between the reads of a start the workload computes; one that pauses for longer has mostly
  // started.
  static constexpr Duration kQuiet = std::chrono::seconds(1);
  // A workload that never ceases to read must not keep an image from becoming complete.
  static constexpr Duration kPatience = std::chrono::seconds(30);

  // Whether somebody waits for bytes now.
  void note(bool busy, SteadyTime now);
  // How many background requests may be in flight, of `most`.
  size_t allowed(size_t most, SteadyTime now) const;
  // When allowed() changes if nothing else is noted; max() for never.
  SteadyTime next_change(SteadyTime now) const;

 private:
  bool is_quiet(SteadyTime now) const;

  bool busy_ = false;
  std::optional<SteadyTime> since_;  // of the last time without a pause of kQuiet
  SteadyTime last_{};                // that somebody waited
};

}  // namespace runnel::fetch
