#include "convert/layer_contents.h"

#include <algorithm>

#include "codec/sha256.h"

namespace runnel::convert {

namespace {

constexpr size_t kKeptChunks = 64;

}  // namespace

Result<Buffer> LayerContents::read(uint32_t inode, uint64_t offset, uint64_t size) {
  Buffer out(size);
  const uint64_t end = offset + size;
  for (const auto& extent : tree_.inodes[inode].extents) {
    const uint64_t first = std::max(offset, extent.file_block * erofs::kBlockSize);
    const uint64_t last = std::min(end, (extent.file_block + extent.blocks) * erofs::kBlockSize);
    if (first >= last) continue;
    RUNNEL_DO(copy(extent, first, MutableBytes(out).subspan(first - offset, last - first)));
  }
  return out;
}

// From the byte `offset` of the file on, all of it within the extent.
Result<void> LayerContents::copy(const erofs::Extent& extent, uint64_t offset, MutableBytes out) {
  uint64_t at = (extent.device_block - extent.file_block) * erofs::kBlockSize + offset;
  while (!out.empty()) {
    const auto& table = *slots_[extent.device - 1].table;
    const uint32_t index = table.find(at / erofs::kBlockSize);
    RUNNEL_TRY(const Bytes plain, chunk({extent.device, index}));
    const auto part = plain.subspan(at - table.at(index).device_offset());
    const auto count = std::min(part.size(), out.size());
    std::ranges::copy(part.first(count), out.begin());
    out = out.subspan(count);
    at += count;
  }
  return {};
}

// Valid until the next call.
Result<Bytes> LayerContents::chunk(const Key& key) {
  if (const auto known = places_.find(key); known != places_.end()) {
    recent_.splice(recent_.begin(), recent_, known->second);
    return Bytes(recent_.front().second);
  }
  const auto& [blob, table] = slots_[key.first - 1];
  const auto entry = table->at(key.second);
  Buffer frame(entry.stored_size);
  RUNNEL_DO(read_exact_at(blob->get(), frame, entry.blob_offset));
  Buffer plain(entry.size());
  RUNNEL_DO(zstd_.decompress(frame, plain));
  if (codec::sha256(plain) != entry.digest)
    return fail(Code::kInvalid, "chunk {} of device {} is not what its table says", key.second,
                key.first);
  if (recent_.size() >= kKeptChunks) {
    places_.erase(recent_.back().first);
    recent_.pop_back();
  }
  recent_.emplace_front(key, std::move(plain));
  places_[key] = recent_.begin();
  return Bytes(recent_.front().second);
}

}  // namespace runnel::convert
