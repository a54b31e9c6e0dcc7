// Which chunks the open layers have, by digest: what one layer lacks and another one has on this
// node need not come over the network again.
//
// Digests are what a sender says that they are: a table may name one of them half a million times
// (an honest one too, of small equal files), or many that begin alike. A hash table that took them
// as they come would walk over all of these for each, under a lock. So of one digest only a few
// entries are kept, and a chunk's slot comes from a hash with a key that nobody knows outside.
#pragma once

#include <array>
#include <cstdint>
#include <memory>
#include <mutex>
#include <optional>
#include <vector>

#include "codec/sha256.h"

namespace runnel::cache {

class Layer;

// Any thread may call any method, without a layer's lock. Layers are not kept alive by it.
class ChunkIndex {
 public:
  // Of 64 GiB of content; they take 12 MiB of memory.
  static constexpr size_t kMaxChunks = size_t{512} << 10;

  using Key = std::array<uint64_t, 2>;

  // The key is random when nothing else is asked for.
  explicit ChunkIndex(size_t max_chunks = kMaxChunks) : ChunkIndex(max_chunks, random_key()) {}
  ChunkIndex(size_t max_chunks, const Key& key) : max_chunks_(max_chunks), key_(key) {}

  // All of the layer's chunks, whether they are here yet or not; of those that are equal, and equal
  // to others', a few. Nothing happens when there is no room for them: the layer lends nothing
  // then.
  void add(const std::shared_ptr<Layer>& layer);

  struct Place {
    std::shared_ptr<Layer> layer;
    uint32_t chunk = 0;
  };
  // A durable chunk with these bytes. It may go, or be damaged on disk: whoever takes it looks.
  std::optional<Place> find(const codec::Sha256Value& digest) const;

  // What it has, and what adding that took: slots that were looked at.
  struct Stats {
    size_t entries = 0;
    uint64_t steps = 0;
    uint64_t rebuilds = 0;
  };
  Stats stats() const;

 private:
  static constexpr uint32_t kFree = ~uint32_t{0};

  struct Slot {
    uint32_t mark = 0;       // of the digest
    uint32_t layer = kFree;  // in layers_
    uint32_t chunk = 0;
  };

  static Key random_key();
  uint32_t mark_of(const codec::Sha256Value& digest) const;
  std::vector<Place> candidates(const codec::Sha256Value& digest) const;
  void make_room_locked(size_t more);
  void rebuild_locked(size_t more);
  void put_locked(Slot slot);

  const size_t max_chunks_;
  const Key key_;
  mutable std::mutex mutex_;
  std::vector<std::weak_ptr<Layer>> layers_;
  // Open addressing, linear probing; a power of two, half of it free.
  std::vector<Slot> slots_;
  size_t used_ = 0;
  uint64_t steps_ = 0;
  uint64_t rebuilds_ = 0;
};

}  // namespace runnel::cache
