// Gives out room in the image, in the order of asking.
//
// Inodes with their tails must not straddle blocks, and directory blocks must be whole; so partly
// filled blocks are kept open for the small things that come later. A handful is enough: with eight
// of them, the image of a root file system wastes about one per cent.
#pragma once

#include <algorithm>
#include <array>
#include <cstdint>

#include "base/bytes.h"
#include "erofs/format.h"

namespace runnel::erofs {

class Space {
 public:
  // `used` bytes at the front are taken already.
  explicit Space(uint64_t used) : end_(round_up(used, kBlockSize)) {
    keep_open(round_up(used, kInodeSlotSize));
  }

  // A place for an inode with everything behind it; within one block when it fits into one.
  uint64_t take(uint64_t size) {
    size = round_up(size, kInodeSlotSize);
    for (Gap& gap : gaps_) {
      if (gap.size < size) continue;
      const uint64_t at = gap.at;
      gap.at += size;
      gap.size -= size;
      return at;
    }
    const uint64_t at = end_;
    end_ += round_up(size, kBlockSize);
    keep_open(at + size);
    return at;
  }

  // The byte where `count` whole blocks start.
  uint64_t take_blocks(uint64_t count) {
    const uint64_t at = end_;
    end_ += count * kBlockSize;
    return at;
  }

  uint64_t size() const { return end_; }

 private:
  struct Gap {
    uint64_t at = 0;
    uint64_t size = 0;
  };

  // From `at` to the end of its block, in place of the smallest gap.
  void keep_open(uint64_t at) {
    const Gap gap{at, round_up(at, kBlockSize) - at};
    Gap& smallest = *std::ranges::min_element(gaps_, {}, &Gap::size);
    if (gap.size > smallest.size) smallest = gap;
  }

  uint64_t end_;
  std::array<Gap, 8> gaps_{};
};

}  // namespace runnel::erofs
