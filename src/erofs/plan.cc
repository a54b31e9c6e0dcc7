#include "erofs/plan.h"

#include <sys/stat.h>

#include <algorithm>
#include <limits>

#include "base/quote.h"
#include "erofs/directory.h"

namespace runnel::erofs {
namespace {

bool is_directory(const Inode& inode) {
  return S_ISDIR(inode.mode);
}

Result<void> check_devices(const std::vector<Device>& devices) {
  if (devices.size() > kMaxDevices) {
    return fail(Code::kUnsupported, "erofs: {} devices; at most {}", devices.size(), kMaxDevices);
  }
  for (size_t i = 0; i < devices.size(); ++i) {
    const Device& device = devices[i];
    if (device.blocks > kMaxDeviceBlocks) {
      return fail(Code::kUnsupported, "erofs: device {} has {} blocks; at most {}", i + 1,
                  device.blocks, kMaxDeviceBlocks);
    }
    if (device.tag.size() > kMaxDeviceTagSize || device.tag.find('\0') != std::string::npos) {
      return fail(Code::kInvalid, "erofs: the tag of device {} is too long or has a NUL", i + 1);
    }
  }
  return {};
}

Result<void> check_inode(const Inode& inode) {
  if (dirent_type(inode.mode) == 0) {
    return fail(Code::kInvalid, "mode {:o} has no known file type", inode.mode);
  }
  if (inode.mtime_ns >= 1'000'000'000) {
    return fail(Code::kInvalid, "mtime has {} nanoseconds", inode.mtime_ns);
  }
  if (!S_ISREG(inode.mode) && !inode.extents.empty()) {
    return fail(Code::kInvalid, "has extents but is no regular file");
  }
  if (!is_directory(inode) && !inode.entries.empty()) {
    return fail(Code::kInvalid, "has entries but is no directory");
  }
  if (S_ISLNK(inode.mode) &&
      (inode.symlink_target.empty() || inode.symlink_target.size() > kMaxSymlinkSize ||
       inode.symlink_target.find('\0') != std::string::npos)) {
    return fail(Code::kInvalid, "symlink target of {} bytes is empty, too long or has a NUL",
                inode.symlink_target.size());
  }
  return {};
}

Result<void> check_name(const std::string& name) {
  if (name.empty() || name.size() > kMaxNameSize || name == "." || name == ".." ||
      name.find('/') != std::string::npos || name.find('\0') != std::string::npos) {
    return fail(Code::kInvalid, "no entry can be named {}", quote(name));
  }
  return {};
}

}  // namespace

Result<Plan> Plan::make(const Tree& tree) {
  RUNNEL_DO(check_devices(tree.devices));
  if (tree.inodes.empty() || !is_directory(tree.inodes[0])) {
    return fail(Code::kInvalid, "erofs: the tree's first inode is not a directory");
  }
  if (tree.inodes.size() > std::numeric_limits<uint32_t>::max()) {
    return fail(Code::kUnsupported, "erofs: {} inodes", tree.inodes.size());
  }
  Plan plan(tree);
  RUNNEL_DO(plan.put_in_order());
  plan.xattrs_.place_shared();
  RUNNEL_DO(plan.lay_out());
  return plan;
}

// ---- first pass: what is reached, from where, and is it well formed ----

Result<void> Plan::put_in_order() {
  placements_[0].reached = true;
  order_.push_back(0);
  for (size_t next = 0; next < order_.size(); ++next) {
    const uint32_t index = order_[next];
    const Inode& inode = tree_->inodes[index];
    auto outcome = check_inode(inode);
    if (outcome) outcome = xattrs_.count(inode);
    if (outcome && is_directory(inode)) outcome = reach_entries(index);
    if (!outcome) return std::unexpected(located(outcome.error(), index));
  }
  return {};
}

Result<void> Plan::reach_entries(uint32_t directory) {
  for (const DirEntry& entry : tree_->inodes[directory].entries) RUNNEL_DO(check_name(entry.name));
  const auto& entries = sorted_entries(directory);
  const auto same_name = [](const DirEntry* a, const DirEntry* b) { return a->name == b->name; };
  if (const auto twice = std::ranges::adjacent_find(entries, same_name); twice != entries.end()) {
    return fail(Code::kInvalid, "two entries are named {}", quote((*twice)->name));
  }
  for (const DirEntry* entry : entries) {
    if (entry == &dot_ || entry == &dot_dot_) continue;
    RUNNEL_DO(reach(directory, *entry));
  }
  return {};
}

Result<void> Plan::reach(uint32_t directory, const DirEntry& entry) {
  if (entry.inode >= tree_->inodes.size()) {
    return fail(Code::kInvalid, "entry {} names inode {} of {}", quote(entry.name), entry.inode,
                tree_->inodes.size());
  }
  Placement& placement = placements_[entry.inode];
  if (is_directory(tree_->inodes[entry.inode])) {
    if (placement.reached) {
      return fail(Code::kInvalid, "entry {} names a directory that is also elsewhere",
                  quote(entry.name));
    }
    ++placements_[directory].names;
  } else {
    ++placement.names;
  }
  if (placement.reached) return {};

  placement.reached = true;
  placement.parent = directory;
  placement.depth = static_cast<uint16_t>(placements_[directory].depth + 1);
  if (placement.depth > kMaxDepth) {
    return fail(Code::kUnsupported, "is {} directories deep; at most {}", placement.depth,
                kMaxDepth);
  }
  order_.push_back(entry.inode);
  return {};
}

// ---- second pass: where it goes ----

Result<void> Plan::lay_out() {
  Space space(kDeviceTableAt + tree_->devices.size() * kDeviceSlotSize);
  RUNNEL_DO(place(0, space));

  size_t next = 1;  // in order_: the first inode that has no place yet
  for (const uint32_t index : order_) {
    if (!is_directory(tree_->inodes[index])) continue;
    RUNNEL_TRY(const Shape shape, shape_of(index));
    place_blocks(index, shape, space);
    for (; next < order_.size() && placements_[order_[next]].parent == index; ++next) {
      RUNNEL_DO(place(order_[next], space));
    }
  }

  shared_xattrs_at_ = space.take_blocks(div_up(xattrs_.shared_area().size(), kBlockSize));
  image_size_ = space.size();
  if (image_size_ / kInodeSlotSize > std::numeric_limits<uint32_t>::max() ||
      xattrs_.shared_area().size() > std::numeric_limits<uint32_t>::max()) {
    return fail(Code::kUnsupported, "erofs: an image of {} bytes of metadata", image_size_);
  }
  RUNNEL_CHECK(placements_[0].nid <= kMaxRootNid);
  return {};
}

Result<void> Plan::place(uint32_t index, Space& space) {
  const auto shape = shape_of(index);
  if (!shape) return std::unexpected(located(shape.error(), index));
  placements_[index].nid = static_cast<uint32_t>(space.take(shape->bytes()) / kInodeSlotSize);
  if (S_ISLNK(tree_->inodes[index].mode)) place_blocks(index, *shape, space);
  return {};
}

void Plan::place_blocks(uint32_t index, const Shape& shape, Space& space) {
  if (shape.blocks == 0) return;
  placements_[index].block = static_cast<uint32_t>(space.take_blocks(shape.blocks) / kBlockSize);
}

// ---- shapes ----

Result<Shape> Plan::shape_of(uint32_t index) {
  const Inode& inode = tree_->inodes[index];
  Shape shape;
  RUNNEL_TRY(shape.xattr_size, xattrs_.body_size(inode));

  if (is_directory(inode)) {
    shape_directory(index, shape);
  } else if (S_ISLNK(inode.mode)) {
    shape.size = inode.symlink_target.size();
    if (kInodeSize + shape.xattr_size + shape.size <= kBlockSize) {
      shape.layout = Layout::kFlatInline;
      shape.tail_size = shape.size;
    } else {
      shape.blocks = 1;
    }
  } else if (S_ISREG(inode.mode)) {
    shape.size = inode.size;
    RUNNEL_TRY(shape.chunks, plan_chunks(inode, tree_->devices));
    if (shape.chunks.count > 0) {
      shape.layout = Layout::kChunkBased;
      shape.tail_size = round_up(shape.xattr_size, kChunkIndexSize) - shape.xattr_size +
                        shape.chunks.count * kChunkIndexSize;
    }
  }
  return shape;
}

void Plan::shape_directory(uint32_t index, Shape& shape) {
  DirectoryPacker packer;
  for (const DirEntry* entry : sorted_entries(index)) packer.add(entry->name);
  shape.size = packer.size();
  shape.blocks = div_up(shape.size, kBlockSize);

  // A tail as long as a block would be no tail, and does not fit behind an inode anyway.
  if (kInodeSize + shape.xattr_size + packer.last_block_size() <= kBlockSize) {
    shape.layout = Layout::kFlatInline;
    shape.tail_size = packer.last_block_size();
    --shape.blocks;
  }
}

const std::vector<const DirEntry*>& Plan::sorted_entries(uint32_t index) {
  dot_.inode = index;
  dot_dot_.inode = placements_[index].parent;
  entries_.clear();
  for (const DirEntry& entry : tree_->inodes[index].entries) entries_.push_back(&entry);

  // std::string compares as unsigned bytes, which is what the kernel's binary search does.
  const auto by_name = [](const DirEntry* a, const DirEntry* b) { return a->name < b->name; };
  if (!std::ranges::is_sorted(entries_, by_name)) std::ranges::sort(entries_, by_name);
  for (const DirEntry* dots : {&dot_, &dot_dot_}) {
    entries_.insert(std::ranges::upper_bound(entries_, dots, by_name), dots);
  }
  return entries_;
}

// ---- errors ----

std::string Plan::path_of(uint32_t index) const {
  std::string path;
  while (index != 0) {
    const uint32_t parent = placements_[index].parent;
    const auto& entries = tree_->inodes[parent].entries;
    const auto entry = std::ranges::find(entries, index, &DirEntry::inode);
    path.insert(0, entry == entries.end() ? "?" : entry->name);
    path.insert(0, "/");
    index = parent;
  }
  return path.empty() ? "/" : path;
}

Error Plan::located(const Error& error, uint32_t index) const {
  return error.in("erofs: " + quote(path_of(index)));
}

}  // namespace runnel::erofs
