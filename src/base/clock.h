// Time, injected, so that tests need not wait.
#pragma once

#include <chrono>

namespace runnel {

using SteadyTime = std::chrono::steady_clock::time_point;
using WallTime = std::chrono::sys_time<std::chrono::nanoseconds>;
using Duration = std::chrono::steady_clock::duration;

// May be called from any thread.
class Clock {
 public:
  virtual ~Clock() = default;
  // For deadlines and measurements; never goes back.
  virtual SteadyTime now() const = 0;
  // For records that people read; may jump.
  virtual WallTime wall() const = 0;
};

// The machine's clock.
class SystemClock final : public Clock {
 public:
  SteadyTime now() const override { return std::chrono::steady_clock::now(); }
  WallTime wall() const override { return std::chrono::system_clock::now(); }
};

}  // namespace runnel
