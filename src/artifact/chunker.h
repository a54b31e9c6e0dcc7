// Lays file contents out as a device image and cuts the image into chunks.
//
// Files stand in the order in which they come, each from a block on. A file of 32 KiB or more has
// chunks of its own, so that the same file makes the same chunks in any layer; smaller neighbours
// share one and none of them is split, so that reading one touches one chunk. Holes of a sparse
// file take no room, except that an enormous file is cut no finer than erofs::extent_unit_blocks()
// says: a block of data in 20 GiB takes 4 MiB. Of such padding what fills whole chunks is cut as
// coarsely as readers allow, for each chunk is 48 bytes that every start fetches: 5 and not 32.
#pragma once

#include <cstdint>
#include <functional>
#include <span>
#include <vector>

#include "base/bytes.h"
#include "base/error.h"
#include "erofs/tree.h"
#include "tar/entry.h"

namespace runnel::artifact {

// `length` bytes of a file from `offset` on that its archive holds; the rest is a hole.
struct DataRange {
  uint64_t offset;
  uint64_t length;
};

class Chunker {
 public:
  // Gets each chunk's plain bytes, in device order; a multiple of 4096, at most the chunk size, or
  // at most kMaxChunkSize when they are all zeros of a file's padding.
  using Sink = std::function<Result<void>(Buffer plain)>;

  // `chunk_size` is a multiple of 4096.
  Chunker(uint32_t chunk_size, Sink sink);

  // `data` ascends, does not overlap and lies within `size`.
  Result<void> begin_file(uint64_t size, std::span<const DataRange> data);
  // The next bytes of the file, within a range and in ascending order.
  Result<void> write(uint64_t offset, Bytes bytes);
  // Where the file's contents lie (extents with device 0).
  Result<std::vector<erofs::Extent>> end_file();

  // Hands out the last chunk.
  Result<void> finish();

  uint64_t device_blocks() const { return device_blocks_; }

 private:
  Result<void> pad_to(uint64_t offset);
  Result<void> append(Bytes bytes);
  Result<void> append_zeros(uint64_t count);
  Result<void> flush();

  const uint32_t chunk_size_;
  Sink sink_;
  Buffer chunk_;
  uint64_t device_blocks_ = 0;

  // The file under way.
  std::vector<erofs::Extent> extents_;
  size_t extent_ = 0;      // the one being filled
  uint64_t position_ = 0;  // offset in the file of the next byte to fill
  bool alone_ = false;
};

// begin_file() for a file of an archive.
Result<void> begin_file(Chunker& chunker, const tar::Entry& entry);

}  // namespace runnel::artifact
