// The layer blob: one source layer's file contents, tree and chunk table.
//
//    0             frames: one zstd frame a chunk, in device order, without gaps
//    tree_offset   the layer's tree (layer_tree.h) as one zstd frame
//    table_offset  the chunk table (chunk_table.h), plain
//    size - 160    footer
//
// Footer, 160 bytes:
//
//    0  magic "RNLLAYER"          8  version u32 = 1        12  footer size u32 = 160
//   16  required features u64    24  optional features u64
//   32  where tree and table are, 104 bytes (layer_parts.h)
//  136  zero[24]
//
// A reader refuses a required feature it does not know; bit 0 is reserved for encryption.
#pragma once

#include <cstdint>
#include <deque>
#include <future>
#include <memory>
#include <mutex>
#include <vector>

#include "artifact/chunk_table.h"
#include "artifact/layer_parts.h"
#include "artifact/layer_tree.h"
#include "base/bytes.h"
#include "base/error.h"
#include "base/worker_pool.h"
#include "codec/sha256.h"
#include "codec/zstd.h"

namespace runnel::artifact {

inline constexpr uint32_t kLayerVersion = 1;
inline constexpr int kZstdLevel = 3;

// Checks the footer of a blob of `blob_size` bytes: kInvalid, or kUnsupported for a version or
// feature that this program does not know.
Result<LayerParts> parse_layer_footer(Bytes footer, uint64_t blob_size);

// The bytes of a tree out of their stored frame, with the digest that `parts` say.
Result<Buffer> unpack_layer_tree(Bytes frame, const LayerParts& parts);
// The tree that these are, checked.
Result<LayerTree> open_layer_tree(Bytes frame, const LayerParts& parts, uint64_t device_blocks);

// Where a blob's bytes go, from the first to the last. One thread uses it.
class BlobSink {
 public:
  virtual ~BlobSink() = default;

  virtual Result<void> append(Bytes bytes) = 0;
  // The SHA-256 of all that was appended; zeros when whoever reads the bytes hashes them.
  virtual codec::Sha256Value digest() = 0;
};

// Writes a layer blob, compressing and hashing chunks on a pool.
//
// One thread uses it. The bytes depend only on the chunks, the tree, and zstd's version and level.
class LayerBlobWriter {
 public:
  // To a file that is empty and outlives the writer.
  LayerBlobWriter(int fd, WorkerPool& pool, size_t chunks_in_flight = 32);
  LayerBlobWriter(std::unique_ptr<BlobSink> sink, WorkerPool& pool, size_t chunks_in_flight = 32);
  // Waits for what is on the pool.
  ~LayerBlobWriter();

  // The next chunk of the device. Waits while too many are on the pool.
  Result<void> add_chunk(Buffer plain);

  struct Written {
    codec::Sha256Value digest{};  // as the sink says
    uint64_t size = 0;
    uint64_t device_blocks = 0;
    LayerParts parts;
  };
  Result<Written> finish(const LayerTree& tree);

 private:
  struct Job {
    Buffer plain;
    Buffer frame;
    codec::Sha256Value digest{};
  };

  void compress(Job& job);
  Result<void> write_oldest();
  Result<void> append(Bytes bytes);

  const std::unique_ptr<BlobSink> sink_;
  WorkerPool& pool_;
  const size_t in_flight_limit_;
  std::deque<std::future<std::unique_ptr<Job>>> in_flight_;
  std::mutex mutex_;  // of compressors_
  std::vector<std::unique_ptr<codec::ZstdCompressor>> compressors_;
  ChunkTableWriter table_{kChunkSize};
  uint64_t size_ = 0;
};

}  // namespace runnel::artifact
