#include "artifact/chunk_table.h"

#include <algorithm>
#include <cstring>

namespace runnel::artifact {

namespace {

constexpr std::string_view kMagic = "RNLTABLE";
constexpr uint32_t kVersion = 1;
constexpr size_t kHashSize = 32;
constexpr size_t kPageSize = 4096;
constexpr size_t kEntrySize = 48;
constexpr uint32_t kEntriesPerPage = kPageSize / kEntrySize;

uint32_t page_count_of(uint32_t chunks) {
  return static_cast<uint32_t>(div_up(chunks, kEntriesPerPage));
}

bool all_zero(Bytes bytes) {
  return std::ranges::all_of(bytes, [](std::byte b) { return b == std::byte{0}; });
}

Result<void> check_pages(Bytes hashes, Bytes pages) {
  for (size_t page = 0; page * kPageSize < pages.size(); ++page) {
    const auto hash = codec::sha256(pages.subspan(page * kPageSize, kPageSize));
    if (!std::ranges::equal(hash, hashes.subspan(page * kHashSize, kHashSize))) {
      return fail(Code::kInvalid, "chunk table: page {} does not match its digest", page);
    }
  }
  return {};
}

}  // namespace

Result<ChunkTable> ChunkTable::parse(Buffer bytes, const codec::Sha256Value& digest) {
  const auto kept = std::make_shared<const Buffer>(std::move(bytes));
  return parse(*kept, kept, digest);
}

Result<ChunkTable> ChunkTable::parse(Bytes bytes, std::shared_ptr<const void> owner,
                                     const codec::Sha256Value& digest) {
  ByteReader reader(bytes, "chunk table");
  RUNNEL_TRY(const Bytes magic, reader.bytes(kMagic.size()));
  if (as_text(magic) != kMagic) return fail(Code::kInvalid, "chunk table: wrong magic");
  RUNNEL_TRY(const uint32_t version, reader.u32());
  if (version != kVersion) {
    return fail(Code::kUnsupported, "chunk table: version {}, this program reads {}", version,
                kVersion);
  }
  ChunkTable table;
  table.digest_ = digest;
  RUNNEL_TRY(table.chunk_max_, reader.u32());
  RUNNEL_TRY(table.device_blocks_, reader.u64());
  RUNNEL_TRY(table.frame_bytes_, reader.u64());
  RUNNEL_TRY(table.chunk_count_, reader.u32());
  RUNNEL_TRY(const uint32_t page_count, reader.u32());
  RUNNEL_TRY(const Bytes reserved, reader.bytes(24));
  if (table.chunk_max_ == 0 || table.chunk_max_ % kBlockSize != 0 ||
      table.chunk_max_ > kMaxChunkSize) {
    return fail(Code::kInvalid, "chunk table: chunks of {} bytes", table.chunk_max_);
  }
  if (table.chunk_count_ > kMaxChunks || page_count != page_count_of(table.chunk_count_)) {
    return fail(Code::kInvalid, "chunk table: {} chunks in {} pages", table.chunk_count_,
                page_count);
  }
  if (!all_zero(reserved)) return fail(Code::kInvalid, "chunk table: reserved bytes are set");

  RUNNEL_TRY(const Bytes hashes, reader.bytes(page_count * kHashSize));
  table.pages_offset_ = reader.offset();
  RUNNEL_TRY(const Bytes pages, reader.bytes(page_count * kPageSize));
  if (!reader.at_end()) return fail(Code::kInvalid, "chunk table: bytes after the last page");
  if (codec::sha256(bytes.first(table.pages_offset_)) != digest) {
    return fail(Code::kInvalid, "chunk table: index does not match the digest it is trusted by");
  }
  RUNNEL_DO(check_pages(hashes, pages));
  table.owner_ = std::move(owner);
  table.bytes_ = bytes;
  RUNNEL_DO(table.check_entries());
  return table;
}

Result<void> ChunkTable::check_entries() const {
  uint64_t blob_offset = 0;
  uint64_t device_block = 0;
  for (uint32_t i = 0; i < chunk_count_; ++i) {
    const std::byte* at = entry(i);
    const auto stored_size = load_le<uint32_t>(at + 8);
    if (load_le<uint64_t>(at) != blob_offset || block_of(i) != device_block) {
      return fail(Code::kInvalid, "chunk table: chunk {} does not follow its predecessor", i);
    }
    if (stored_size == 0 || stored_size > 2 * chunk_max_ + 1024) {
      return fail(Code::kInvalid, "chunk table: chunk {} has {} stored bytes", i, stored_size);
    }
    const uint64_t end = i + 1 < chunk_count_ ? block_of(i + 1) : device_blocks_;
    if (end <= device_block || end - device_block > chunk_max_ / kBlockSize) {
      return fail(Code::kInvalid, "chunk table: chunk {} ends at block {}, starts at {}", i, end,
                  device_block);
    }
    device_block = end;
    blob_offset += stored_size;
  }
  if (device_block != device_blocks_ || blob_offset != frame_bytes_) {
    return fail(Code::kInvalid, "chunk table: chunks cover {} of {} blocks, {} of {} blob bytes",
                device_block, device_blocks_, blob_offset, frame_bytes_);
  }
  return {};
}

const std::byte* ChunkTable::entry(uint32_t index) const {
  return bytes_.data() + pages_offset_ + uint64_t{index / kEntriesPerPage} * kPageSize +
         index % kEntriesPerPage * kEntrySize;
}

uint32_t ChunkTable::block_of(uint32_t index) const {
  return load_le<uint32_t>(entry(index) + 12);
}

Chunk ChunkTable::at(uint32_t index) const {
  RUNNEL_CHECK(index < chunk_count_);
  const std::byte* from = entry(index);
  const uint64_t end = index + 1 < chunk_count_ ? block_of(index + 1) : device_blocks_;
  const uint64_t begin = load_le<uint32_t>(from + 12);
  // Checked when it was parsed; the disk below a mapped file may have changed its mind.
  RUNNEL_CHECK(begin < end && end - begin <= chunk_max_ / kBlockSize && end <= device_blocks_);
  Chunk chunk{.blob_offset = load_le<uint64_t>(from),
              .stored_size = load_le<uint32_t>(from + 8),
              .device_block = load_le<uint32_t>(from + 12),
              .blocks = static_cast<uint32_t>(end - load_le<uint32_t>(from + 12)),
              .digest = {}};
  std::memcpy(chunk.digest.data(), from + 16, kHashSize);
  return chunk;
}

uint32_t ChunkTable::find(uint64_t device_block) const {
  RUNNEL_CHECK(device_block < device_blocks_);
  uint32_t low = 0;
  uint32_t high = chunk_count_;
  while (high - low > 1) {
    const uint32_t middle = low + (high - low) / 2;
    (block_of(middle) <= device_block ? low : high) = middle;
  }
  return low;
}

void ChunkTableWriter::add(uint32_t blocks, uint32_t stored_size,
                           const codec::Sha256Value& digest) {
  RUNNEL_CHECK(blocks > 0 && blocks <= kMaxChunkSize / kBlockSize);
  chunk_max_ = std::max(chunk_max_, blocks * kBlockSize);
  chunks_.push_back({.blob_offset = frame_bytes_,
                     .stored_size = stored_size,
                     .device_block = static_cast<uint32_t>(device_blocks_),
                     .blocks = blocks,
                     .digest = digest});
  frame_bytes_ += stored_size;
  device_blocks_ += blocks;
}

ChunkTableWriter::Written ChunkTableWriter::finish() const {
  ByteWriter pages;
  for (uint32_t i = 0; i < chunks_.size(); ++i) {
    pages.u64(chunks_[i].blob_offset);
    pages.u32(chunks_[i].stored_size);
    pages.u32(chunks_[i].device_block);
    pages.bytes(chunks_[i].digest);
    if (i % kEntriesPerPage == kEntriesPerPage - 1) pages.zeros(kPageSize % kEntrySize);
  }
  pages.zeros(round_up(pages.size(), kPageSize) - pages.size());

  ByteWriter out;
  out.bytes(as_bytes(kMagic));
  out.u32(kVersion);
  out.u32(chunk_max_);
  out.u64(device_blocks_);
  out.u64(frame_bytes_);
  out.u32(size());
  out.u32(page_count_of(size()));
  out.zeros(24);
  for (size_t at = 0; at < pages.size(); at += kPageSize) {
    out.bytes(codec::sha256(pages.view().subspan(at, kPageSize)));
  }
  const auto digest = codec::sha256(out.view());
  out.bytes(pages.view());
  return {.bytes = out.take(), .digest = digest};
}

}  // namespace runnel::artifact
