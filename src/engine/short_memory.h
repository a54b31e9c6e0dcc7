// Whether a machine is short of memory, so that a second copy of what is read costs more than it
// saves (docs/decisions/0011-page-cache.md).
#pragma once

#include <cstdint>

namespace runnel::engine {

// What a few containers of an ordinary image read (a quarter of a gigabyte each, twice) is a large
// part of less.
inline constexpr uint64_t kShortMemory = uint64_t{4} << 30;

// What the kernel manages, in bytes; 0 when it does not say.
uint64_t memory_of_this_machine();

constexpr bool is_short(uint64_t memory) {
  return memory != 0 && memory < kShortMemory;
}

}  // namespace runnel::engine
