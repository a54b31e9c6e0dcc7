// A bit for each 32-byte slot of an image.
#pragma once

#include <algorithm>
#include <cstdint>
#include <vector>

#include "erofs/format.h"

namespace runnel::erofs {

class SlotMap {
 public:
  explicit SlotMap(uint64_t image_size)
      : words_(div_up(div_up(image_size, kInodeSlotSize), kWordBits)) {}

  // Sets one slot's bit and says whether it was clear. The slot is in the image.
  bool set(uint64_t slot) { return set_in_word(slot, 1); }

  // Sets every slot that these bytes touch and says whether all were clear. They are in the image.
  bool claim(uint64_t at, uint64_t size) {
    bool free = true;
    const uint64_t end = div_up(at + size, kInodeSlotSize);
    for (uint64_t slot = at / kInodeSlotSize; slot < end;) {
      const uint64_t count = std::min(end - slot, kWordBits - slot % kWordBits);
      free &= set_in_word(slot, count);
      slot += count;
    }
    return free;
  }

 private:
  static constexpr uint64_t kWordBits = 64;

  // `count` slots of one word, 1 at least.
  bool set_in_word(uint64_t slot, uint64_t count) {
    uint64_t& word = words_[slot / kWordBits];
    const uint64_t bits = (~uint64_t{0} >> (kWordBits - count)) << (slot % kWordBits);
    const bool were_clear = (word & bits) == 0;
    word |= bits;
    return were_clear;
  }

  std::vector<uint64_t> words_;
};

}  // namespace runnel::erofs
