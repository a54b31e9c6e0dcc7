// Times in the database, in its tables and its documents: milliseconds since 1970.
#pragma once

#include <cstdint>

#include "base/clock.h"

namespace runnel::meta {

inline int64_t to_milliseconds(WallTime time) {
  return std::chrono::duration_cast<std::chrono::milliseconds>(time.time_since_epoch()).count();
}

inline WallTime from_milliseconds(int64_t value) {
  return WallTime(std::chrono::milliseconds(value));
}

}  // namespace runnel::meta
