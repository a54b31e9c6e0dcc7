#include "artifact/chunker.h"

#include <algorithm>

#include "artifact/chunk_table.h"

namespace runnel::artifact {

namespace {

constexpr uint64_t kOwnChunkFrom = 32 * 1024;

uint64_t end_of(const erofs::Extent& extent) {
  return (extent.file_block + extent.blocks) * kBlockSize;
}

// The blocks of a file of `size` bytes that have to lie on the device, on the grid that EROFS
// needs.
std::vector<erofs::Extent> blocks_of(uint64_t size, std::span<const DataRange> data) {
  const uint64_t file_blocks = div_up(size, kBlockSize);
  if (data.size() == 1 && data[0].offset == 0 && data[0].length == size && size > 0) {
    return {{.file_block = 0, .device_block = 0, .blocks = file_blocks, .device = 0}};
  }
  const uint64_t unit = erofs::extent_unit_blocks(size) * kBlockSize;
  std::vector<erofs::Extent> extents;
  for (const auto& range : data) {
    if (range.length == 0) continue;
    const uint64_t first = range.offset / unit * unit / kBlockSize;
    const uint64_t end =
        std::min(div_up(range.offset + range.length, unit) * unit / kBlockSize, file_blocks);
    if (!extents.empty() && extents.back().file_block + extents.back().blocks >= first) {
      extents.back().blocks = std::max(extents.back().file_block + extents.back().blocks, end) -
                              extents.back().file_block;
    } else {
      extents.push_back(
          {.file_block = first, .device_block = 0, .blocks = end - first, .device = 0});
    }
  }
  return extents;
}

}  // namespace

Chunker::Chunker(uint32_t chunk_size, Sink sink) : chunk_size_(chunk_size), sink_(std::move(sink)) {
  RUNNEL_CHECK(chunk_size > 0 && chunk_size % kBlockSize == 0);
  chunk_.reserve(chunk_size);
}

Result<void> Chunker::begin_file(uint64_t size, std::span<const DataRange> data) {
  extents_ = blocks_of(size, data);
  uint64_t blocks = 0;
  for (auto& extent : extents_) {
    extent.device_block = device_blocks_ + blocks;
    blocks += extent.blocks;
  }
  if (blocks > erofs::kMaxDeviceBlocks - device_blocks_) {
    return fail(Code::kExhausted, "the layer's files need more than 16 TiB");
  }
  device_blocks_ += blocks;
  alone_ = blocks * kBlockSize >= kOwnChunkFrom;
  if (alone_ || chunk_.size() + blocks * kBlockSize > chunk_size_) RUNNEL_DO(flush());
  extent_ = 0;
  position_ = extents_.empty() ? 0 : extents_[0].file_block * kBlockSize;
  return {};
}

Result<void> Chunker::write(uint64_t offset, Bytes bytes) {
  while (!bytes.empty()) {
    RUNNEL_DO(pad_to(offset));
    RUNNEL_CHECK(extent_ < extents_.size() && position_ == offset);
    const auto part =
        bytes.first(std::min<uint64_t>(bytes.size(), end_of(extents_[extent_]) - offset));
    RUNNEL_DO(append(part));
    position_ += part.size();
    offset += part.size();
    bytes = bytes.subspan(part.size());
  }
  return {};
}

Result<std::vector<erofs::Extent>> Chunker::end_file() {
  RUNNEL_DO(pad_to(UINT64_MAX));
  if (alone_) RUNNEL_DO(flush());
  return std::move(extents_);
}

// Fills with zeros up to `offset` of the file, over the end of extents.
Result<void> Chunker::pad_to(uint64_t offset) {
  while (extent_ < extents_.size()) {
    const uint64_t end = end_of(extents_[extent_]);
    const uint64_t until = std::min(offset, end);
    if (until > position_) RUNNEL_DO(append_zeros(until - position_));
    if (offset < end) {
      position_ = std::max(position_, offset);
      return {};
    }
    ++extent_;
    if (extent_ < extents_.size()) position_ = extents_[extent_].file_block * kBlockSize;
  }
  return {};
}

Result<void> Chunker::append(Bytes bytes) {
  while (!bytes.empty()) {
    const auto part = bytes.first(std::min<size_t>(bytes.size(), chunk_size_ - chunk_.size()));
    chunk_.insert(chunk_.end(), part.begin(), part.end());
    bytes = bytes.subspan(part.size());
    if (chunk_.size() == chunk_size_) RUNNEL_DO(flush());
  }
  return {};
}

Result<void> Chunker::append_zeros(uint64_t count) {
  while (count > 0) {
    if (chunk_.empty() && count > chunk_size_) {
      const uint64_t zeros = std::min<uint64_t>(count, kMaxChunkSize) / kBlockSize * kBlockSize;
      RUNNEL_DO(sink_(Buffer(zeros)));
      count -= zeros;
      continue;
    }
    const uint64_t part = std::min<uint64_t>(count, chunk_size_ - chunk_.size());
    chunk_.resize(chunk_.size() + part);
    count -= part;
    if (chunk_.size() == chunk_size_) RUNNEL_DO(flush());
  }
  return {};
}

Result<void> Chunker::flush() {
  if (chunk_.empty()) return {};
  Buffer chunk;
  chunk.reserve(chunk_size_);
  chunk.swap(chunk_);
  return sink_(std::move(chunk));
}

Result<void> Chunker::finish() {
  return flush();
}

Result<void> begin_file(Chunker& chunker, const tar::Entry& entry) {
  std::vector<DataRange> ranges;
  ranges.reserve(entry.data_extents.size());
  for (const auto& extent : entry.data_extents) ranges.push_back({extent.offset, extent.length});
  return chunker.begin_file(entry.size, ranges);
}

}  // namespace runnel::artifact
