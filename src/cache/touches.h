// Which chunks of a layer were read, in the order of their first read: what a startup profile is
// made of, and what tells a start that is going on from one that is over.
#pragma once

#include <algorithm>
#include <cstdint>
#include <optional>
#include <vector>

#include "base/clock.h"

namespace runnel::cache {

struct Touch {
  uint32_t chunk = 0;
  SteadyTime at{};

  bool operator==(const Touch&) const = default;
};

struct TouchSpan {
  SteadyTime first{};
  SteadyTime last{};
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

  // The first and the last of order() that are not before `since`; nothing when there is none.
  std::optional<TouchSpan> since(SteadyTime since) const {
    const auto first = std::ranges::lower_bound(order_, since, {}, &Touch::at);
    if (first == order_.end()) return std::nullopt;
    return TouchSpan{.first = first->at, .last = order_.back().at};
  }

 private:
  std::vector<bool> touched_;
  std::vector<Touch> order_;
};

}  // namespace runnel::cache
