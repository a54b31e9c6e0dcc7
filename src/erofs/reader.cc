#include "erofs/reader.h"

#include <algorithm>
#include <bit>

namespace runnel::erofs {
namespace {

constexpr uint32_t kKnownIncompat = kIncompatChunkedFile | kIncompatDeviceTable;
constexpr uint32_t kKnownCompat = kCompatChecksum | kCompatMtime;

Result<void> check_superblock(Bytes image, const Superblock& superblock) {
  if (superblock.block_bits != kBlockBits) {
    return fail(Code::kUnsupported, "erofs: blocks of 2^{} bytes; expected 2^{}",
                superblock.block_bits, kBlockBits);
  }
  if ((superblock.feature_incompat & ~kKnownIncompat) != 0 ||
      (superblock.feature_compat & ~kKnownCompat) != 0) {
    return fail(Code::kUnsupported, "erofs: features {:#x} and {:#x} are not all known",
                superblock.feature_incompat, superblock.feature_compat);
  }
  if ((superblock.feature_compat & kCompatChecksum) == 0) {
    return fail(Code::kInvalid, "erofs: the superblock has no checksum");
  }
  if (superblock.checksum != superblock_checksum(image.first(kBlockSize))) {
    return fail(Code::kInvalid, "erofs: superblock checksum mismatch");
  }
  if (superblock.meta_block != 0) {
    return fail(Code::kUnsupported, "erofs: metadata starts at block {}; expected 0",
                superblock.meta_block);
  }
  return {};
}

}  // namespace

Result<Reader> Reader::open(Bytes image) {
  if (image.size() < kBlockSize) {
    return fail(Code::kInvalid, "erofs: image of {} bytes has no superblock", image.size());
  }
  const std::byte* at = image.data() + kSuperblockAt;
  if (load_le<uint32_t>(at) != kMagic) return fail(Code::kInvalid, "erofs: no magic number");

  Reader reader(image);
  reader.superblock_ = load_superblock(at);
  RUNNEL_DO(check_superblock(image, reader.superblock_));
  RUNNEL_DO(reader.read_devices());
  return reader;
}

Result<void> Reader::read_devices() {
  if ((superblock_.feature_incompat & kIncompatDeviceTable) == 0) return {};
  const uint64_t count = superblock_.extra_devices;
  RUNNEL_TRY(const Bytes table,
             bytes(superblock_.device_slot * kDeviceSlotSize, count * kDeviceSlotSize));
  devices_.reserve(count);
  for (uint64_t i = 0; i < count; ++i) {
    devices_.push_back(load_device(table.data() + i * kDeviceSlotSize));
  }
  return {};
}

std::unexpected<Error> Reader::past_end(uint64_t at, uint64_t size) const {
  return fail(Code::kInvalid, "erofs: {} bytes at {} are past the image's {}", size, at,
              image_.size());
}

void Reader::prefetch(uint64_t nid) const {
  if (!has_inode(nid)) return;
  const uint64_t at = inode_at(nid);
  __builtin_prefetch(image_.data() + at);
  // What stands behind it.
  if (at + kInodeSize < image_.size()) __builtin_prefetch(image_.data() + at + kInodeSize);
}

std::unexpected<Error> Reader::no_inode(uint64_t nid) const {
  if (!has_inode(nid)) return fail(Code::kInvalid, "erofs: inode {} is past the image", nid);
  return fail(Code::kUnsupported, "erofs: inode {} has format {:#x}", nid,
              load_inode(image_.data() + inode_at(nid)).format);
}

Result<Bytes> Reader::content_block(const Node& node, uint64_t block) const {
  if (node.layout == Layout::kChunkBased) {
    return fail(Code::kInvalid, "erofs: inode {} has no content of its own", node.nid);
  }
  const uint64_t blocks = div_up(node.disk.size, kBlockSize);
  if (block >= blocks) {
    return fail(Code::kInvalid, "erofs: block {} of inode {}, which has {}", block, node.nid,
                blocks);
  }
  const bool last = block + 1 == blocks;
  const uint64_t size = last ? node.disk.size - block * kBlockSize : kBlockSize;
  if (last && node.layout == Layout::kFlatInline) {
    const uint64_t at = inode_at(node.nid) + kInodeSize + node.xattr_size;
    if (at % kBlockSize + size > kBlockSize) {
      return fail(Code::kInvalid, "erofs: inline data of inode {} straddles blocks", node.nid);
    }
    return bytes(at, size);
  }
  if (block > image_.size() / kBlockSize) {
    return fail(Code::kInvalid, "erofs: block {} of inode {} is past the image", block, node.nid);
  }
  return bytes((node.disk.what + block) * kBlockSize, size);
}

Result<std::string> Reader::symlink_target(const Node& symlink) const {
  if (!symlink.is_symlink() || symlink.disk.size == 0 || symlink.disk.size > kMaxSymlinkSize) {
    return fail(Code::kInvalid, "erofs: inode {} is no symlink with a target of 1 to {} bytes",
                symlink.nid, kMaxSymlinkSize);
  }
  RUNNEL_TRY(const Bytes target, content_block(symlink, 0));
  return std::string(as_text(target));
}

Result<Bytes> Reader::chunk_indexes(const Node& file) const {
  if (file.layout != Layout::kChunkBased) {
    return fail(Code::kInvalid, "erofs: inode {} has no chunks", file.nid);
  }
  const uint64_t bits = file.disk.what & kChunkBitsMask;
  if (!file.is_regular() || (file.disk.what & ~uint32_t{kChunkBitsMask}) != kChunkIndexes) {
    return fail(Code::kInvalid, "erofs: inode {} has chunk format {:#x} and mode {:o}", file.nid,
                file.disk.what, file.disk.mode);
  }
  const uint64_t count = div_up(div_up(file.disk.size, kBlockSize), uint64_t{1} << bits);
  if (count > kMaxChunkIndexes) {
    return fail(Code::kInvalid, "erofs: inode {} has {} chunks; at most {}", file.nid, count,
                kMaxChunkIndexes);
  }
  const uint64_t at = round_up(inode_at(file.nid) + kInodeSize + file.xattr_size, kChunkIndexSize);
  return bytes(at, count * kChunkIndexSize);
}

Result<std::vector<Extent>> Reader::extents(const Node& file) const {
  std::vector<Extent> extents;
  RUNNEL_DO(for_each_chunk(file, [&extents](const Extent& next) {
    Extent* before = extents.empty() ? nullptr : &extents.back();
    if (before != nullptr && before->device == next.device &&
        before->file_block + before->blocks == next.file_block &&
        before->device_block + before->blocks == next.device_block) {
      before->blocks += next.blocks;
    } else {
      extents.push_back(next);
    }
  }));
  return extents;
}

}  // namespace runnel::erofs
