#include "erofs/tree.h"

namespace runnel::erofs {

static_assert(extent_unit_blocks(0) == 1);
static_assert(extent_unit_blocks(uint64_t{32} << 20) == 1);
static_assert(extent_unit_blocks((uint64_t{32} << 20) + 1) == 2);
static_assert(extent_unit_blocks(uint64_t{1} << 40) * kBlockSize == uint64_t{128} << 20);
static_assert(extent_unit_blocks(kMaxFileSize) == kMaxChunkBlocks);

}  // namespace runnel::erofs
