#include "erofs/writer.h"

#include <sys/stat.h>

#include <algorithm>

#include "erofs/directory.h"
#include "erofs/plan.h"

namespace runnel::erofs {
namespace {

// The last pass: what goes where is known, and that all of it is well formed.
class ImageWriter {
 public:
  ImageWriter(const Tree& tree, const WriteOptions& options, Plan& plan)
      : tree_(tree), options_(options), plan_(plan), image_(plan.image_size()) {}

  Buffer write() {
    for (size_t i = 0; i < tree_.devices.size(); ++i) {
      store_device(image_.data() + kDeviceTableAt + i * kDeviceSlotSize, tree_.devices[i]);
    }
    uint32_t ino = 0;
    for (const uint32_t index : plan_.order()) write_inode(index, ++ino);
    std::ranges::copy(plan_.xattrs().shared_area(), image_.data() + plan_.shared_xattrs_at());
    write_superblock();  // its checksum covers all of the first block
    return std::move(image_);
  }

 private:
  void write_superblock();
  void write_inode(uint32_t index, uint32_t ino);
  void write_directory(uint32_t index, const Shape& shape, std::byte* tail);
  void write_chunks(const Inode& file, const ChunkPlan& chunks, std::byte* at);

  std::byte* block_at(uint32_t block) { return image_.data() + block * kBlockSize; }

  const Tree& tree_;
  const WriteOptions& options_;
  Plan& plan_;
  Buffer image_;
  std::vector<Dirent> block_entries_;  // of the directory block that is being filled
};

void ImageWriter::write_superblock() {
  Superblock superblock;
  superblock.feature_compat = kCompatChecksum | kCompatMtime;
  superblock.block_bits = kBlockBits;
  superblock.root_nid = static_cast<uint16_t>(plan_.placement(0).nid);
  superblock.inode_count = plan_.order().size();
  superblock.build_time = options_.build_time;
  superblock.blocks = static_cast<uint32_t>(image_.size() / kBlockSize);
  if (!plan_.xattrs().shared_area().empty()) {
    superblock.xattr_block = static_cast<uint32_t>(plan_.shared_xattrs_at() / kBlockSize);
  }
  superblock.uuid = options_.uuid;
  superblock.feature_incompat = kIncompatChunkedFile;
  if (!tree_.devices.empty()) {
    superblock.feature_incompat |= kIncompatDeviceTable;
    superblock.extra_devices = static_cast<uint16_t>(tree_.devices.size());
    superblock.device_slot = kDeviceTableAt / kDeviceSlotSize;
  }
  std::byte* at = image_.data() + kSuperblockAt;
  store_superblock(at, superblock);
  superblock.checksum = superblock_checksum(Bytes(image_).first(kBlockSize));
  store_superblock(at, superblock);
}

uint32_t what_of(const Inode& inode, const Placement& placement, const Shape& shape) {
  if (S_ISCHR(inode.mode) || S_ISBLK(inode.mode)) return inode.rdev;
  if (shape.layout == Layout::kChunkBased) return kChunkIndexes | shape.chunks.bits;
  return placement.block;
}

uint32_t nlink_of(const Inode& inode, const Placement& placement) {
  if (inode.nlink != 0) return inode.nlink;
  return S_ISDIR(inode.mode) ? 2 + placement.names : placement.names;
}

void ImageWriter::write_inode(uint32_t index, uint32_t ino) {
  const Inode& inode = tree_.inodes[index];
  const Placement& placement = plan_.placement(index);
  const auto shape = plan_.shape_of(index);
  RUNNEL_CHECK(shape.has_value());  // the second pass has seen it

  DiskInode disk;
  disk.format = inode_format(shape->layout);
  disk.xattr_count = static_cast<uint16_t>(
      shape->xattr_size == 0 ? 0 : 1 + (shape->xattr_size - kXattrHeaderSize) / 4);
  disk.mode = inode.mode;
  disk.size = shape->size;
  disk.what = what_of(inode, placement, *shape);
  disk.ino = ino;
  disk.uid = inode.uid;
  disk.gid = inode.gid;
  disk.mtime_s = inode.mtime_s;
  disk.mtime_ns = inode.mtime_ns;
  disk.nlink = nlink_of(inode, placement);

  std::byte* at = image_.data() + placement.nid * kInodeSlotSize;
  store_inode(at, disk);
  plan_.xattrs().store_body(inode, at + kInodeSize);
  std::byte* tail = at + kInodeSize + shape->xattr_size;
  if (S_ISDIR(inode.mode)) {
    write_directory(index, *shape, tail);
  } else if (S_ISLNK(inode.mode)) {
    std::ranges::copy(as_bytes(inode.symlink_target),
                      shape->blocks == 0 ? tail : block_at(placement.block));
  } else if (shape->layout == Layout::kChunkBased) {
    write_chunks(inode, shape->chunks,
                 at + round_up(kInodeSize + shape->xattr_size, kChunkIndexSize));
  }
}

void ImageWriter::write_directory(uint32_t index, const Shape& shape, std::byte* tail) {
  std::byte* block = block_at(plan_.placement(index).block);
  uint64_t whole_blocks = shape.blocks;
  const auto finish_block = [&] {
    if (block_entries_.empty()) return;
    const bool is_tail = whole_blocks == 0;
    store_directory_block(
        is_tail ? MutableBytes(tail, shape.tail_size) : MutableBytes(block, kBlockSize),
        block_entries_);
    block_entries_.clear();
    if (is_tail) return;
    --whole_blocks;
    block += kBlockSize;
  };

  DirectoryPacker packer;
  for (const DirEntry* entry : plan_.sorted_entries(index)) {
    if (packer.add(entry->name)) finish_block();
    block_entries_.push_back({plan_.placement(entry->inode).nid,
                              dirent_type(tree_.inodes[entry->inode].mode), entry->name});
  }
  finish_block();
}

void ImageWriter::write_chunks(const Inode& file, const ChunkPlan& chunks, std::byte* at) {
  size_t next_extent = 0;
  for (uint64_t chunk = 0; chunk < chunks.count; ++chunk, at += kChunkIndexSize) {
    const auto address = chunk_address(file, chunks, chunk, next_extent);
    store_le(at + 2, address ? address->device : uint16_t{0});
    store_le(at + 4, address ? address->block : kHole);
  }
}

}  // namespace

Result<Buffer> write_image(const Tree& tree, const WriteOptions& options) {
  RUNNEL_TRY(Plan plan, Plan::make(tree));
  if (plan.image_size() > options.max_bytes) {
    return fail(Code::kExhausted, "erofs: an image of {} bytes of metadata; at most {}",
                plan.image_size(), options.max_bytes);
  }
  return ImageWriter(tree, options, plan).write();
}

Result<uint64_t> image_size(const Tree& tree) {
  RUNNEL_TRY(const Plan plan, Plan::make(tree));
  return plan.image_size();
}

}  // namespace runnel::erofs
