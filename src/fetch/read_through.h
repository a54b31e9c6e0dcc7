// A blob of a RangeSource, or a long part of it, from its first byte to its last, for those who
// need all of it and may wait: reads go out ahead, so that the line is never idle, and their
// answers come in order.
#pragma once

#include <cstdint>
#include <functional>

#include "base/bytes.h"
#include "base/clock.h"
#include "base/error.h"
#include "fetch/range_source.h"

namespace runnel::fetch {

struct ReadThrough {
  Priority priority = Priority::kBackground;
  uint64_t from = 0;
  uint64_t to = UINT64_MAX;  // or the blob's end, if that comes first
  uint64_t piece = uint64_t{1} << 20;
  size_t ahead = 4;                                   // reads under way: what is held in memory
  Duration piece_timeout = std::chrono::seconds(60);  // after which nothing came for too long
};

// Blocks; `consume` runs on this thread and may take its time. An error of it, or of a read, ends
// the whole. Returns when nothing is under way any more, so that a source that was shut down ends
// it at once. Nobody has verified the bytes.
Result<void> read_through(RangeSource& source, const Clock& clock, const ReadThrough& options,
                          const std::function<Result<void>(Bytes)>& consume);

}  // namespace runnel::fetch
