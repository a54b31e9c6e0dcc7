// Which chunks of a layer were read, in the order of their first read: what a startup profile is
// made of, and what tells a start that is going on from one that is over.
#pragma once

#include <cstdint>
#include <vector>

#include "base/clock.h"

namespace runnel::cache {

struct Touch {
  uint32_t chunk = 0;
  SteadyTime at{};

  bool operator==(const Touch&) const = default;
};

// One thread at a time.
class Touches {
 public:
  // Starts touch a few thousand chunks. Beyond this many the order is not kept; what was touched
  // still is.
  static constexpr size_t kMaxOrder = 1 << 16;

  explicit Touches(uint32_t chunks) : touched_(chunks) {}

  bool has(uint32_t chunk) const { return touched_[chunk]; }

  // Whether it is the first time.
  bool add(uint32_t chunk, SteadyTime now) {
    if (touched_[chunk]) return false;
    touched_[chunk] = true;
    if (order_.size() < kMaxOrder) order_.push_back({.chunk = chunk, .at = now});
    return true;
  }

  const std::vector<Touch>& order() const { return order_; }

 private:
  std::vector<bool> touched_;
  std::vector<Touch> order_;
};

}  // namespace runnel::cache
