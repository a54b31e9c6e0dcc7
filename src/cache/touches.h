// Which chunks of a layer were read, in the order of their first read, and what that read waited
// for: what a startup profile is made of, what tells a start that is going on from one that is
// over, and what `runnel node why` shows.
#pragma once

#include <algorithm>
#include <cstdint>
#include <limits>
#include <optional>
#include <vector>

#include "base/clock.h"

namespace runnel::cache {

// Why a chunk's bytes came here, or come.
enum class Origin : uint8_t {
  kBefore,    // they were here when the layer was opened
  kDemand,    // a reader wanted them
  kAhead,     // they lie around what a reader wanted
  kHotPack,   // with the boot blob
  kFill,      // in the background
  kOriginal,  // from the layer that the artifact was made of
  kNode,      // from another layer of this node
};

// What the first read of a chunk waited for.
enum class Wait : uint8_t {
  kNone,     // it was here
  kFetch,    // one that the read began itself
  kJoined,   // one that was under way, for the reason that Origin says
  kCheck,    // a look at the file: nobody knew whether it is right
  kRefused,  // the registry had refused it, for want of a credential say
  kFailed,   // the read has failed
};

struct Touch {
  static constexpr uint32_t kNotYet = std::numeric_limits<uint32_t>::max();

  uint32_t chunk = 0;
  SteadyTime at{};
  uint16_t block = 0;  // of the chunk: where the read began
  Origin origin = Origin::kBefore;
  Wait wait = Wait::kNone;
  uint32_t arrived_us = 0;      // after `at`, the bytes were in memory, unverified; 0: before
  uint32_t ready_us = kNotYet;  // after `at`, the read had this chunk

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
  static constexpr uint32_t kNotKept = std::numeric_limits<uint32_t>::max();

  explicit Touches(uint32_t chunks) : touched_(chunks) {}

  bool has(uint32_t chunk) const { return touched_[chunk]; }

  // Whether it is the first time.
  bool add(uint32_t chunk, SteadyTime now) { return add({.chunk = chunk, .at = now}); }
  bool add(const Touch& touch) {
    if (touched_[touch.chunk]) return false;
    touched_[touch.chunk] = true;
    if (order_.size() < kMaxOrder) order_.push_back(touch);
    return true;
  }

  // Of the touch that was added last; kNotKept when it was one too many.
  uint32_t last() const {
    return order_.size() < kMaxOrder ? static_cast<uint32_t>(order_.size() - 1) : kNotKept;
  }
  // What becomes of a touch. Nothing happens with kNotKept.
  void waits(uint32_t index, Wait wait) {
    if (index < order_.size()) order_[index].wait = wait;
  }
  void ready(uint32_t index, SteadyTime arrived, SteadyTime now, Origin origin) {
    if (index >= order_.size()) return;
    Touch& touch = order_[index];
    touch.origin = origin;
    touch.arrived_us = after(touch, arrived);
    touch.ready_us = after(touch, now);
  }

  void read_from_disk(uint32_t index, SteadyTime now) {
    if (index < order_.size()) order_[index].ready_us = after(order_[index], now);
  }

  const std::vector<Touch>& order() const { return order_; }

  // The first and the last of order() that are not before `since`; nothing when there is none.
  std::optional<TouchSpan> since(SteadyTime since) const {
    const auto first = std::ranges::lower_bound(order_, since, {}, &Touch::at);
    if (first == order_.end()) return std::nullopt;
    return TouchSpan{.first = first->at, .last = order_.back().at};
  }

 private:
  static uint32_t after(const Touch& touch, SteadyTime when) {
    const auto us = std::chrono::duration_cast<std::chrono::microseconds>(when - touch.at).count();
    return static_cast<uint32_t>(std::clamp<int64_t>(us, 0, Touch::kNotYet - 1));
  }

  std::vector<bool> touched_;
  std::vector<Touch> order_;
};

}  // namespace runnel::cache
