#include "erofs/validator.h"

#include <algorithm>

#include "base/quote.h"
#include "erofs/directory_check.h"
#include "erofs/node_check.h"
#include "erofs/reader.h"
#include "erofs/slot_map.h"
#include "erofs/xattr_check.h"

namespace runnel::erofs {
namespace {

// An image is larger than the processor's caches, and its inodes stand in another order.
constexpr size_t kInodesAhead = 8;
constexpr uint64_t kInodesBeforeRest = uint64_t{1} << 15;
// The numbers of its inodes have 32 bits: the writer makes no larger one.
constexpr uint64_t kMaxImageBytes = (uint64_t{1} << 32) * kInodeSlotSize;

class Validator {
 public:
  Validator(const Reader& reader, uint64_t image_size, const Limits& limits,
            const std::function<void()>& rest)
      : reader_(reader),
        limits_(limits),
        rest_(rest),
        image_size_(image_size),
        xattrs_(reader),
        seen_(image_size),
        claimed_(image_size) {}

  Result<void> check_head();
  Result<void> check_shared_xattrs() { return xattrs_.read_shared(image_size_); }
  Result<void> walk();
  Summary summary() && { return std::move(summary_); }

 private:
  // One that is to be walked. Small: there may be as many as inodes.
  struct Directory {
    uint32_t nid;
    uint32_t parent;
    uint32_t depth;
  };

  Result<void> meet_all(const std::vector<Dirent>& entries, const Directory& directory);
  Result<void> meet(const Dirent& entry, const Directory& directory);
  Result<void> accept(const Node& node, uint64_t parent, uint64_t depth);
  Result<void> claim(const Node& node, uint64_t at, uint64_t size);

  const Reader& reader_;
  const Limits& limits_;
  const std::function<void()>& rest_;
  const uint64_t image_size_;
  XattrCheck xattrs_;
  SlotMap seen_;     // inodes that have been accepted, by nid
  SlotMap claimed_;  // bytes that belong to something
  std::vector<Directory> waiting_;
  Summary summary_;
};

// The superblock and device table have no byte that we would not write.
Result<void> Validator::check_head() {
  const Superblock& superblock = reader_.superblock();
  std::byte canonical[std::max(kSuperblockSize, kDeviceSlotSize)];
  store_superblock(canonical, superblock);
  RUNNEL_TRY(const Bytes raw, reader_.bytes(kSuperblockAt, kSuperblockSize));
  if (!std::ranges::equal(raw, Bytes(canonical, kSuperblockSize))) {
    return fail(Code::kInvalid, "erofs: reserved bytes of the superblock are set");
  }
  if (superblock.blocks != image_size_ / kBlockSize || superblock.build_time_ns != 0) {
    return fail(Code::kInvalid, "erofs: superblock says {} blocks, the image has {}",
                superblock.blocks, image_size_ / kBlockSize);
  }

  const uint64_t devices = superblock.extra_devices;
  const bool has_table = (superblock.feature_incompat & kIncompatDeviceTable) != 0;
  const uint64_t table_at = kSuperblockAt + kSuperblockSize;
  if (has_table != (devices != 0) ||
      superblock.device_slot != (has_table ? table_at / kDeviceSlotSize : 0)) {
    return fail(Code::kInvalid, "erofs: {} devices with a table at slot {}", devices,
                superblock.device_slot);
  }
  if (devices > limits_.devices) {
    return fail(Code::kExhausted, "erofs: {} devices; at most {}", devices, limits_.devices);
  }
  for (uint64_t i = 0; i < devices; ++i) {
    RUNNEL_TRY(const Bytes slot, reader_.bytes(table_at + i * kDeviceSlotSize, kDeviceSlotSize));
    store_device(canonical, reader_.devices()[i]);
    if (!std::ranges::equal(slot, Bytes(canonical, kDeviceSlotSize))) {
      return fail(Code::kInvalid, "erofs: reserved bytes of device {} are set", i + 1);
    }
  }
  summary_.devices = reader_.devices();
  claimed_.claim(0, table_at + devices * kDeviceSlotSize);
  return {};
}

Result<void> Validator::walk() {
  RUNNEL_TRY(const Node root, reader_.node(reader_.root()));
  if (!root.is_directory()) return fail(Code::kInvalid, "erofs: the root is no directory");
  RUNNEL_DO(accept(root, root.nid, 0));

  std::vector<Dirent> entries;  // of one block after the other
  while (!waiting_.empty()) {
    const Directory directory = waiting_.back();
    waiting_.pop_back();
    RUNNEL_TRY(const Node node, reader_.node(directory.nid));
    DirectoryCheck check(reader_, node, directory.parent);
    while (!check.at_end()) {
      RUNNEL_DO(check.next(entries));
      RUNNEL_DO(meet_all(entries, directory));
    }
  }
  if (summary_.inodes != reader_.superblock().inode_count) {
    return fail(Code::kInvalid, "erofs: superblock says {} inodes, there are {}",
                reader_.superblock().inode_count, summary_.inodes);
  }
  return {};
}

Result<void> Validator::meet_all(const std::vector<Dirent>& entries, const Directory& directory) {
  summary_.entries += entries.size();
  for (size_t i = 0; i < std::min(kInodesAhead, entries.size()); ++i) {
    reader_.prefetch(entries[i].nid);
  }
  for (size_t i = 0; i < entries.size(); ++i) {
    if (i + kInodesAhead < entries.size()) reader_.prefetch(entries[i + kInodesAhead].nid);
    RUNNEL_DO(meet(entries[i], directory));
  }
  return {};
}

Result<void> Validator::meet(const Dirent& entry, const Directory& directory) {
  RUNNEL_TRY(const Node node, reader_.node(entry.nid));
  if (entry.type != dirent_type(node.disk.mode)) {
    return fail(Code::kInvalid, "erofs: inode {}: entry {} has type {}, its inode mode {:o}",
                directory.nid, quote(entry.name), entry.type, node.disk.mode);
  }
  return accept(node, directory.nid, uint64_t{directory.depth} + 1);
}

Result<void> Validator::accept(const Node& node, uint64_t parent, uint64_t depth) {
  if (!seen_.set(node.nid)) {
    if (!node.is_directory()) return {};  // a hard link
    return fail(Code::kInvalid, "erofs: directory {} has two parents", node.nid);
  }
  if (++summary_.inodes > limits_.inodes) {
    return fail(Code::kExhausted, "erofs: more than {} inodes", limits_.inodes);
  }
  if (depth > limits_.depth) {
    return fail(Code::kExhausted, "erofs: inode {} is more than {} directories deep", node.nid,
                limits_.depth);
  }
  if (rest_ && summary_.inodes % kInodesBeforeRest == 0) rest_();
  RUNNEL_TRY(const Footprint footprint, check_node(reader_, xattrs_, node));
  RUNNEL_DO(claim(node, reader_.inode_at(node.nid), footprint.inline_size));
  RUNNEL_DO(claim(node, footprint.block * kBlockSize, footprint.blocks * kBlockSize));

  summary_.depth = std::max(summary_.depth, depth);
  if (node.is_directory()) {
    ++summary_.directories;
    waiting_.push_back({.nid = static_cast<uint32_t>(node.nid),
                        .parent = static_cast<uint32_t>(parent),
                        .depth = static_cast<uint32_t>(depth)});
  }
  summary_.device_blocks_used += footprint.device_blocks;
  return {};
}

// Gives these bytes to the inode alone. The area of shared xattrs, when there is one, is the
// image's end and belongs to no inode.
Result<void> Validator::claim(const Node& node, uint64_t at, uint64_t size) {
  if (size == 0) return {};
  RUNNEL_DO(reader_.bytes(at, size));
  const uint64_t shared = reader_.superblock().xattr_block * kBlockSize;
  if ((shared != 0 && at + size > shared) || !claimed_.claim(at, size)) {
    return fail(Code::kInvalid, "erofs: inode {}: {} bytes at {} belong to something else too",
                node.nid, size, at);
  }
  return {};
}

}  // namespace

Result<Summary> validate(Bytes image, const Limits& limits, const std::function<void()>& rest) {
  const uint64_t most = std::min(limits.image_bytes, kMaxImageBytes);
  if (image.size() > most) {
    return fail(Code::kExhausted, "erofs: image of {} bytes; at most {}", image.size(), most);
  }
  if (image.size() % kBlockSize != 0) {
    return fail(Code::kInvalid, "erofs: image of {} bytes is not whole blocks", image.size());
  }
  RUNNEL_TRY(const Reader reader, Reader::open(image));
  Validator validator(reader, image.size(), limits, rest);
  RUNNEL_DO(validator.check_head());
  RUNNEL_DO(validator.check_shared_xattrs());
  RUNNEL_DO(validator.walk());
  return std::move(validator).summary();
}

}  // namespace runnel::erofs
