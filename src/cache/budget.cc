#include "cache/budget.h"

#include <algorithm>

namespace runnel::cache {

namespace {

constexpr uint64_t kDefaultShare = 5;  // a fifth

uint64_t over(uint64_t value, uint64_t limit) {
  return value > limit ? value - limit : 0;
}

}  // namespace

void Budget::measured(uint64_t disk_bytes, uint64_t free_bytes, uint64_t used_bytes) {
  Status status{.used = used_bytes,
                .max_bytes = limits_.max_bytes.value_or(disk_bytes / kDefaultShare),
                .free = free_bytes,
                .min_free = limits_.min_free.value_or(disk_bytes / kDefaultShare),
                .reserve = limits_.reserve};
  const uint64_t excess =
      std::max(over(used_bytes, status.max_bytes), over(status.min_free, free_bytes));
  const uint64_t room = over(free_bytes, limits_.reserve);
  status.state = room == 0 ? State::kFull : excess > 0 ? State::kNoFilling : State::kRoom;

  const std::lock_guard lock(mutex_);
  status_ = status;
  admissible_ = static_cast<int64_t>(std::min<uint64_t>(room, INT64_MAX));
  excess_ = excess;
  state_ = status.state;
}

bool Budget::admit(uint64_t bytes) {
  if (take(bytes, 0)) return true;
  ++refused_;
  return false;
}

bool Budget::admit_ahead(uint64_t bytes) {
  return take(bytes, limits_.reserve);
}

bool Budget::take(uint64_t bytes, uint64_t leaving) {
  int64_t before = admissible_;
  while (before >= 0 && std::cmp_greater_equal(before, leaving) &&
         std::cmp_greater_equal(static_cast<uint64_t>(before) - leaving, bytes)) {
    if (admissible_.compare_exchange_weak(before, before - static_cast<int64_t>(bytes)))
      return true;
  }
  return false;
}

Budget::Status Budget::status() const {
  const std::lock_guard lock(mutex_);
  Status status = status_;
  status.refused = refused_;
  return status;
}

const char* to_string(Budget::State state) {
  switch (state) {
    case Budget::State::kRoom: return "room";
    case Budget::State::kNoFilling: return "no filling";
    case Budget::State::kFull: return "DiskFull";
  }
  return "unknown";
}

}  // namespace runnel::cache
