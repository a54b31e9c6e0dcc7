// How much of the disk the cache may have. No I/O: whoever measures tells it.
//
//   room        everything goes on
//   no filling  more than max_bytes are used, or less than min_free are free: nothing comes in the
//               background, and layers that are not mounted are given back, least recently used
//               first; what somebody reads still comes, with what lies around it, and is kept
//   full        less than the reserve is free: reads of what is not here fail
#pragma once

#include <atomic>
#include <cstdint>
#include <mutex>
#include <optional>
#include <utility>

namespace runnel::cache {

struct Limits {
  std::optional<uint64_t> max_bytes;  // none: 20 % of the file system
  std::optional<uint64_t> min_free;   // likewise
  uint64_t reserve = uint64_t{512} << 20;
};

// Any thread may call any method; none waits.
class Budget {
 public:
  enum class State : uint8_t { kRoom, kNoFilling, kFull };

  // Until measured() there is room.
  explicit Budget(const Limits& limits) : limits_(limits) {}

  // The size of the cache's file system, what an ordinary user finds free on it, and what the
  // cache takes.
  void measured(uint64_t disk_bytes, uint64_t free_bytes, uint64_t used_bytes);

  // For bytes that somebody waits for: whether they may come. What was let in counts until the next
  // measurement.
  bool admit(uint64_t bytes);
  // For what lies around such bytes, and nobody waits for: leaves as much as the reserve to
  // admit().
  bool admit_ahead(uint64_t bytes);
  // Whether admit() would let so many in now.
  bool has_room_for(uint64_t bytes) const {
    return std::cmp_greater_equal(admissible_.load(), bytes);
  }
  bool may_fill() const { return state_ == State::kRoom; }
  State state() const { return state_; }
  // What has to go so that filling may go on.
  uint64_t excess() const { return excess_; }

  struct Status {
    State state = State::kRoom;
    uint64_t used = 0;
    uint64_t max_bytes = 0;
    uint64_t free = 0;
    uint64_t min_free = 0;
    uint64_t reserve = 0;
    uint64_t refused = 0;  // chunks that did not come because the disk was full
  };
  Status status() const;

 private:
  bool take(uint64_t bytes, uint64_t leaving);

  const Limits limits_;
  std::atomic<State> state_ = State::kRoom;
  std::atomic<uint64_t> excess_ = 0;
  std::atomic<int64_t> admissible_ = INT64_MAX;
  std::atomic<uint64_t> refused_ = 0;
  mutable std::mutex mutex_;  // of status_
  Status status_;
};

// "room", "no filling", "DiskFull".
const char* to_string(Budget::State state);

}  // namespace runnel::cache
