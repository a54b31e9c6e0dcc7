// A clock that moves only when the test says so.
#pragma once

#include <mutex>

#include "base/clock.h"

namespace runnel::test {

// May be called from any thread.
class FakeClock final : public Clock {
 public:
  SteadyTime now() const override {
    const std::lock_guard lock(mutex_);
    return steady_;
  }
  WallTime wall() const override {
    const std::lock_guard lock(mutex_);
    return wall_;
  }
  void advance(Duration duration) {
    const std::lock_guard lock(mutex_);
    steady_ += duration;
    wall_ += duration;
  }
  // As if somebody set the time of day, which may go back.
  void set_by(Duration duration) {
    const std::lock_guard lock(mutex_);
    wall_ += duration;
  }

 private:
  mutable std::mutex mutex_;
  SteadyTime steady_{};
  WallTime wall_{std::chrono::seconds(1'700'000'000)};
};

}  // namespace runnel::test
