// The plain bytes of one chunk in memory: made to be filled, and read by many then.
//
// Not a Buffer, because a vector clears its memory first. What is fetched, looked at again or taken
// from another layer fills all of it anyway: of the threads that verify, a start spent 4 % on
// zeros.
#pragma once

#include <algorithm>
#include <memory>

#include "base/bytes.h"

namespace runnel::cache {

class ChunkBytes {
 public:
  // Holds anything: who makes it fills it.
  explicit ChunkBytes(size_t size)
      : bytes_(std::make_unique_for_overwrite<std::byte[]>(size)), size_(size) {}
  // A copy.
  explicit ChunkBytes(Bytes bytes) : ChunkBytes(bytes.size()) {
    std::ranges::copy(bytes, bytes_.get());
  }

  size_t size() const { return size_; }
  MutableBytes all() { return {bytes_.get(), size_}; }
  Bytes all() const { return {bytes_.get(), size_}; }

 private:
  std::unique_ptr<std::byte[]> bytes_;
  size_t size_;
};

}  // namespace runnel::cache
