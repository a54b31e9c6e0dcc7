// How much of a layer is worth fetching around a chunk that somebody reads for the first time.
//
// Starts read a layer in clusters: the 1,790 chunks that jupyter's start reads lie in 260 places.
// One miss at a time each costs a round trip; what lies around it is fetched meanwhile. On the
// recorded starts of python and jupyter, with the order of their reads (stored bytes, without
// waiting for anything but misses):
//
//                          python               jupyter
//    nothing               189 misses           1790 misses
//    64 KiB on each side   100, 1.56 x bytes     488, 1.40 x
//    128 before, 192 after  42, 2.11 x           230, 1.74 x     <- this
//    256 on each side       37, 2.50 x           190, 1.99 x
//
// (At misses only, instead of at every first touch, 128 and 192 give 58 and 341.) The window is
// what a 1 Gbit/s line carries in 2 ms: it costs at most about the wait that it may save. Where a
// round trip is short there is little to save, and the window shrinks with it, to nothing on a
// loopback or a rack's own cache.
#pragma once

#include <algorithm>
#include <cstdint>

#include "artifact/chunk_table.h"
#include "base/clock.h"

namespace runnel::cache {

// In stored bytes, before and after the chunk.
struct ReadAhead {
  static constexpr uint64_t kBefore = 128 << 10;
  static constexpr uint64_t kAfter = 192 << 10;
  static constexpr Duration kFull = std::chrono::milliseconds(2);
  static constexpr Duration kShort = std::chrono::microseconds(500);
  // Of plain bytes on each side: chunks of zeros take next to nothing on the line, and all of their
  // size on the disk.
  static constexpr uint64_t kMostPlain = uint64_t{4} << 20;
  // Less than this is not worth a request of its own when nobody waits for its neighbour.
  static constexpr uint64_t kWorthwhile = 64 << 10;

  // For a source that answers after `round_trip`; zero when that is not known.
  static ReadAhead after(Duration round_trip) {
    if (round_trip < kShort) return {};
    const double share = std::min(
        1.0, std::chrono::duration<double>(round_trip) / std::chrono::duration<double>(kFull));
    return {.before = static_cast<uint64_t>(kBefore * share),
            .behind = static_cast<uint64_t>(kAfter * share)};
  }

  bool empty() const { return behind == 0; }

  struct Chunks {
    uint32_t first = 0;
    uint32_t last = 0;
  };
  // The window around `chunk`, of whole chunks.
  Chunks around(const artifact::ChunkTable& table, uint32_t chunk) const {
    const auto at = table.at(chunk);
    const uint64_t end = at.blob_offset + at.stored_size;
    const uint64_t plain_end = at.device_offset() + at.size();
    Chunks found{.first = chunk, .last = chunk};
    while (found.first > 0) {
      const auto next = table.at(found.first - 1);
      if (at.blob_offset - next.blob_offset > before) break;
      if (at.device_offset() - next.device_offset() > kMostPlain) break;
      --found.first;
    }
    while (found.last + 1 < table.size()) {
      const auto next = table.at(found.last + 1);
      if (next.blob_offset + next.stored_size - end > behind) break;
      if (next.device_offset() + next.size() - plain_end > kMostPlain) break;
      ++found.last;
    }
    return found;
  }

  uint64_t before = 0;
  uint64_t behind = 0;
};

}  // namespace runnel::cache
