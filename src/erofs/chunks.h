// How a regular file's extents become chunk indexes.
#pragma once

#include <optional>
#include <vector>

#include "base/error.h"
#include "erofs/tree.h"

namespace runnel::erofs {

// A file cut into `count` chunks of 2^bits blocks.
struct ChunkPlan {
  uint32_t bits = 0;
  uint64_t count = 0;
};

// The largest chunk for which every chunk of the file is either wholly hole or contiguous on one
// device. kInvalid when an extent breaks a rule of tree.h, kUnsupported when the file is too large.
Result<ChunkPlan> plan_chunks(const Inode& file, const std::vector<Device>& devices);

// Where chunk number `chunk` starts, or nothing when it is a hole. Call with ascending numbers from
// 0 on; `next_extent` starts as 0 and belongs to the callee.
struct ChunkAddress {
  uint16_t device = 0;
  uint32_t block = 0;
};
std::optional<ChunkAddress> chunk_address(const Inode& file, const ChunkPlan& plan, uint64_t chunk,
                                          size_t& next_extent);

}  // namespace runnel::erofs
