// Which chunks of a layer are on this disk, durably: one bit a chunk, in a file of its own, because
// a hole in the device file proves nothing.
//
//      0  magic "RNLVALID"     8  version u32 = 1     12  chunk count u32
//     16  chunk table's digest, 32 bytes              48  zeros
//   4096  bits, chunk 0 is the lowest bit of the first byte
//
// A bit is set only after fdatasync of the chunk's data succeeded.
#pragma once

#include <span>
#include <string>

#include "artifact/chunk_table.h"
#include "base/error.h"
#include "base/fd.h"

namespace runnel::cache {

// One thread at a time.
class Validity {
 public:
  // Opens or creates the file. One that belongs to another table, or is damaged, starts empty.
  static Result<Validity> open(const std::string& path, const artifact::ChunkTable& table);

  bool has(uint32_t chunk) const;
  // Sets the bits and makes them durable.
  Result<void> set(std::span<const uint32_t> chunks);
  Result<void> clear(std::span<const uint32_t> chunks);

 private:
  Validity(UniqueFd fd, Buffer bits) : fd_(std::move(fd)), bits_(std::move(bits)) {}
  Result<void> write_back(std::span<const uint32_t> chunks);

  UniqueFd fd_;
  Buffer bits_;
};

}  // namespace runnel::cache
