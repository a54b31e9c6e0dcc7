// How much of a file the kernel has in memory.
#pragma once

#include <cstdint>

#include "base/error.h"

namespace runnel::cache {

// Bytes of [0, size) of the file that are in the page cache, in whole pages; does not read the
// file, and does not wait for its disk. By cachestat(2), or on kernels before 6.5 by mincore(2).
// Both tell only who may write to the file or owns it.
Result<uint64_t> page_cache_bytes(int fd, uint64_t size);

// The second way alone, for its test.
Result<uint64_t> page_cache_bytes_by_mincore(int fd, uint64_t size);

}  // namespace runnel::cache
