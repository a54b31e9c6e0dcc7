// A clock that goes on by itself, and further when the test says so.
#pragma once

#include <atomic>

#include "base/clock.h"

namespace runnel::test {

// May be called from any thread.
class SkippingClock final : public Clock {
 public:
  SteadyTime now() const override { return std::chrono::steady_clock::now() + skipped_.load(); }
  WallTime wall() const override { return std::chrono::system_clock::now() + skipped_.load(); }
  void skip(Duration duration) { skipped_ = skipped_.load() + duration; }

 private:
  std::atomic<Duration> skipped_{};
};

}  // namespace runnel::test
