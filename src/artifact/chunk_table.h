// The chunk table: how a layer's device image is cut into chunks, and the SHA-256 of each.
//
// It is trusted through its digest, which the artifact's manifest and the boot blob's head carry.
// An index (hashes of the pages) stands before the pages, so that a page can be verified alone.
//
// Index, 64 bytes and 32 for each page:
//
//    0  magic "RNLTABLE"     8  version u32 = 1      12  chunk_max u32, bytes
//   16  device_blocks u64   24  frame_bytes u64      32  chunk_count u32
//   36  page_count u32      40  zero[24]             64  SHA-256 of each page
//
// Page, 4096 bytes: 85 entries of 48 bytes, then zeros.
//
//    0  blob_offset u64      8  stored_size u32      12  device_block u32
//   16  sha256[32], of the chunk's plain bytes
//
// The table's digest is the SHA-256 of the index. Chunks stand in ascending order and tile both
// sides without gaps: the blob's first frame_bytes bytes (one zstd frame a chunk) and the device's
// device_blocks blocks of 4096 bytes. chunk_max is a multiple of 4096, at most 1 MiB.
#pragma once

#include <cstdint>
#include <memory>
#include <vector>

#include "base/bytes.h"
#include "base/error.h"
#include "codec/sha256.h"

namespace runnel::artifact {

inline constexpr uint32_t kBlockSize = 4096;
// What the converter writes and what readers accept.
inline constexpr uint32_t kChunkSize = 128 * 1024;
inline constexpr uint32_t kMaxChunkSize = 1024 * 1024;
inline constexpr uint32_t kMaxChunks = 1u << 24;

struct Chunk {
  uint64_t blob_offset;
  uint32_t stored_size;  // of its zstd frame
  uint32_t device_block;
  uint32_t blocks;  // plain size in blocks of 4096 bytes
  codec::Sha256Value digest;

  uint64_t device_offset() const { return uint64_t{device_block} * kBlockSize; }
  uint32_t size() const { return blocks * kBlockSize; }
};

// An immutable table whose every entry has been checked; may be shared between threads.
class ChunkTable {
 public:
  // Verifies index and pages against `digest`, then the rules above. kInvalid says what is wrong.
  static Result<ChunkTable> parse(Buffer bytes, const codec::Sha256Value& digest);
  // The same over bytes that `owner` keeps, a mapped file for instance. Should they change later,
  // at() notices entries that make no sense and aborts; a wrong digest makes its chunk unreadable.
  static Result<ChunkTable> parse(Bytes bytes, std::shared_ptr<const void> owner,
                                  const codec::Sha256Value& digest);

  uint32_t size() const { return chunk_count_; }
  // `index` < size().
  Chunk at(uint32_t index) const;
  // The chunk that holds this device block, which is < device_blocks().
  uint32_t find(uint64_t device_block) const;

  uint32_t chunk_max() const { return chunk_max_; }
  uint64_t device_blocks() const { return device_blocks_; }
  uint64_t device_size() const { return device_blocks_ * kBlockSize; }
  uint64_t frame_bytes() const { return frame_bytes_; }
  const codec::Sha256Value& digest() const { return digest_; }
  Bytes bytes() const { return bytes_; }

 private:
  ChunkTable() = default;
  const std::byte* entry(uint32_t index) const;
  uint32_t block_of(uint32_t index) const;
  Result<void> check_entries() const;

  std::shared_ptr<const void> owner_;  // copies of a table share its bytes
  Bytes bytes_;
  codec::Sha256Value digest_{};
  uint64_t pages_offset_ = 0;
  uint64_t device_blocks_ = 0;
  uint64_t frame_bytes_ = 0;
  uint32_t chunk_count_ = 0;
  uint32_t chunk_max_ = 0;
};

// Collects chunks in order and writes the table.
class ChunkTableWriter {
 public:
  // The table says `chunk_max`, or the size of the largest chunk when that is more.
  explicit ChunkTableWriter(uint32_t chunk_max) : chunk_max_(chunk_max) {}

  // `blocks` is 1 to kMaxChunkSize / 4096.
  void add(uint32_t blocks, uint32_t stored_size, const codec::Sha256Value& digest);

  struct Written {
    Buffer bytes;
    codec::Sha256Value digest;
  };
  Written finish() const;

  uint32_t size() const { return static_cast<uint32_t>(chunks_.size()); }
  uint64_t device_blocks() const { return device_blocks_; }
  uint64_t frame_bytes() const { return frame_bytes_; }

 private:
  uint32_t chunk_max_;
  uint64_t device_blocks_ = 0;
  uint64_t frame_bytes_ = 0;
  std::vector<Chunk> chunks_;
};

}  // namespace runnel::artifact
