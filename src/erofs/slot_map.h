// A bit for each 32-byte slot of an image.
#pragma once

#include <cstdint>
#include <vector>

#include "erofs/format.h"

namespace runnel::erofs {

class SlotMap {
 public:
  explicit SlotMap(uint64_t image_size) : bits_(div_up(image_size, kInodeSlotSize)) {}

  // Sets one slot's bit and says whether it was clear. The slot is in the image.
  bool set(uint64_t slot) {
    const bool was_clear = !bits_[slot];
    bits_[slot] = true;
    return was_clear;
  }

  // Sets every slot that these bytes touch and says whether all were clear. They are in the image.
  bool claim(uint64_t at, uint64_t size) {
    bool free = true;
    const uint64_t end = div_up(at + size, kInodeSlotSize);
    for (uint64_t slot = at / kInodeSlotSize; slot < end; ++slot) free &= set(slot);
    return free;
  }

 private:
  std::vector<bool> bits_;
};

}  // namespace runnel::erofs
