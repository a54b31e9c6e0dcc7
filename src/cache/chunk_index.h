// Which chunks the open layers have, by digest: what one layer lacks and another one has on this
// node need not come over the network again.
#pragma once

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

  explicit ChunkIndex(size_t max_chunks = kMaxChunks) : max_chunks_(max_chunks) {}

  // All of the layer's chunks, whether they are here yet or not. Nothing happens when there is no
  // room for them: the layer lends nothing then.
  void add(const std::shared_ptr<Layer>& layer);

  struct Place {
    std::shared_ptr<Layer> layer;
    uint32_t chunk = 0;
  };
  // A durable chunk with these bytes. It may go, or be damaged on disk: whoever takes it looks.
  std::optional<Place> find(const codec::Sha256Value& digest) const;

 private:
  static constexpr uint32_t kFree = ~uint32_t{0};

  struct Slot {
    uint32_t prefix = 0;     // of the digest
    uint32_t layer = kFree;  // in layers_
    uint32_t chunk = 0;
  };

  std::vector<Place> candidates(const codec::Sha256Value& digest) const;
  void rebuild_locked(size_t more);
  void put_locked(Slot slot);

  const size_t max_chunks_;
  mutable std::mutex mutex_;
  std::vector<std::weak_ptr<Layer>> layers_;
  // Open addressing, linear probing; a power of two, half of it free.
  std::vector<Slot> slots_;
  size_t used_ = 0;
};

}  // namespace runnel::cache
