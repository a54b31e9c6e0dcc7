#include "startup/reads.h"

#include <algorithm>

namespace runnel::startup {

void Reads::add_file(uint32_t inode, uint64_t whole) {
  constexpr uint64_t kBeginning = 64 << 10;
  const uint64_t size = files_.size(inode);
  add({.inode = inode, .offset = 0, .size = size <= whole ? size : std::min(whole, kBeginning)});
}

void Reads::add(Range range) {
  const uint64_t end = files_.size(range.inode);
  if (range.offset >= end || full()) return;
  range.size = std::min(range.size, end - range.offset);
  auto& known = sizes_[{range.inode, range.offset}];
  if (range.size <= known) return;
  known = range.size;
  ranges_.push_back(range);
}

}  // namespace runnel::startup
