// How long things took, counted in classes from one millisecond to a minute.
#pragma once

#include <array>
#include <atomic>
#include <cstdint>

#include "base/clock.h"

namespace runnel {

// Any thread may call any method, without waiting for another.
class Histogram {
 public:
  // The longest duration of each class, in seconds; what is longer has a class of its own.
  static constexpr std::array kBounds{0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25,
                                      0.5,   1.0,    2.5,   5.0,  10.0,  30.0, 60.0};

  void add(Duration duration);

  struct Snapshot {
    std::array<uint64_t, kBounds.size() + 1> counts{};  // of each class alone
    double sum_s = 0;
  };
  Snapshot snapshot() const;

 private:
  std::array<std::atomic<uint64_t>, kBounds.size() + 1> counts_{};
  std::atomic<uint64_t> sum_us_ = 0;
};

}  // namespace runnel
