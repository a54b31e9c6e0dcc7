// Content of an image's files out of its converted layers.
#pragma once

#include <list>
#include <map>
#include <vector>

#include "artifact/chunk_table.h"
#include "base/bytes.h"
#include "base/error.h"
#include "base/fd.h"
#include "codec/zstd.h"
#include "erofs/tree.h"

namespace runnel::convert {

// The layer behind a device slot: its blob and table, which must outlive whoever has this.
struct SlotContent {
  const UniqueFd* blob = nullptr;
  const artifact::ChunkTable* table = nullptr;
};

// Keeps the chunks that were read last, plain: small files that are read one after the other share
// one. Used by one thread.
class LayerContents {
 public:
  // `slots[i]` is slot i + 1. `tree` must outlive it.
  LayerContents(const erofs::Tree& tree, std::vector<SlotContent> slots)
      : tree_(tree), slots_(std::move(slots)) {}

  // Of a regular file; the range lies within it. kInvalid when a chunk is not what its table says.
  Result<Buffer> read(uint32_t inode, uint64_t offset, uint64_t size);

 private:
  using Key = std::pair<uint16_t, uint32_t>;  // slot, chunk

  Result<Bytes> chunk(const Key& key);
  Result<void> copy(const erofs::Extent& extent, uint64_t offset, MutableBytes out);

  const erofs::Tree& tree_;
  const std::vector<SlotContent> slots_;
  codec::ZstdDecompressor zstd_;
  std::list<std::pair<Key, Buffer>> recent_;  // the last one first
  std::map<Key, std::list<std::pair<Key, Buffer>>::iterator> places_;
};

}  // namespace runnel::convert
