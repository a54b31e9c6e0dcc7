#include "engine/image_tree.h"

#include <dirent.h>
#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>

#include <algorithm>

#include "base/fd.h"

namespace runnel::engine {

namespace {

// Directory offsets: the block, the entry in it, and 1, because 0 is the beginning.
constexpr uint64_t kEntryBits = 16;

// EROFS's file types are the order of FT_* (1 regular … 7 symlink), which is not that of DT_*.
uint8_t directory_type(uint8_t type) {
  constexpr uint8_t kTypes[] = {DT_UNKNOWN, DT_REG,  DT_DIR,  DT_CHR,
                                DT_BLK,     DT_FIFO, DT_SOCK, DT_LNK};
  return type < sizeof kTypes ? kTypes[type] : uint8_t{DT_UNKNOWN};
}

}  // namespace

Result<std::shared_ptr<const ImageTree>> ImageTree::open(const std::string& metadata_path,
                                                         std::vector<oci::Digest> layers) {
  RUNNEL_TRY(const auto file, open_file(metadata_path, O_RDONLY));
  RUNNEL_TRY(const uint64_t size, file_size(file.get()));
  if (size == 0) return fail(Code::kInvalid, "{} is empty", metadata_path);
  void* memory = ::mmap(nullptr, size, PROT_READ, MAP_SHARED, file.get(), 0);
  if (memory == MAP_FAILED) return fail_errno("map {}", metadata_path);
  const Bytes image(static_cast<const std::byte*>(memory), size);
  auto reader = erofs::Reader::open(image);
  if (reader && reader->devices().size() != layers.size()) {
    reader = fail(Code::kInvalid, "{} devices in the metadata, {} layers", reader->devices().size(),
                  layers.size());
  }
  if (!reader) {
    ::munmap(memory, size);
    return std::unexpected(reader.error().in(metadata_path));
  }
  return std::shared_ptr<const ImageTree>(
      new ImageTree(image, *std::move(reader), std::move(layers)));
}

ImageTree::~ImageTree() {
  ::munmap(const_cast<std::byte*>(image_.data()), image_.size());
}

Result<erofs::Node> ImageTree::node(uint64_t inode) const {
  return reader_.node(inode == 0 ? reader_.root() : inode);
}

Result<erofs::Node> ImageTree::child(const erofs::Node& directory, std::string_view name) const {
  RUNNEL_TRY(const auto entry, reader_.lookup(directory, name));
  return reader_.node(entry.nid);
}

fuse_attr ImageTree::attributes(const erofs::Node& node) {
  const auto& disk = node.disk;
  fuse_attr attr{};
  attr.ino = node.nid;
  attr.size = disk.size;
  attr.blocks = round_up(disk.size, erofs::kBlockSize) / 512;
  attr.mtime = attr.atime = attr.ctime = static_cast<uint64_t>(disk.mtime_s);
  attr.mtimensec = attr.atimensec = attr.ctimensec = disk.mtime_ns;
  attr.mode = disk.mode;
  attr.nlink = disk.nlink;
  attr.uid = disk.uid;
  attr.gid = disk.gid;
  attr.blksize = erofs::kBlockSize;
  if (S_ISCHR(disk.mode) || S_ISBLK(disk.mode)) attr.rdev = node.rdev();
  return attr;
}

Result<std::string> ImageTree::symlink_target(const erofs::Node& node) const {
  return reader_.symlink_target(node);
}

Result<Buffer> ImageTree::xattr(const erofs::Node& node, std::string_view name) const {
  RUNNEL_TRY(const auto xattrs, reader_.xattrs(node));
  for (const auto& each : xattrs) {
    if (each.name == name) return Buffer(each.value.begin(), each.value.end());
  }
  return fail(Code::kNotFound, "no such extended attribute");
}

Result<Buffer> ImageTree::xattr_names(const erofs::Node& node, bool privileged) const {
  RUNNEL_TRY(const auto xattrs, reader_.xattrs(node));
  Buffer names;
  for (const auto& each : xattrs) {
    if (!privileged && each.name.starts_with("trusted.")) continue;
    const auto bytes = as_bytes(each.name);
    names.insert(names.end(), bytes.begin(), bytes.end());
    names.push_back(std::byte{0});
  }
  return names;
}

Result<std::vector<ImageTree::Entry>> ImageTree::entries(const erofs::Node& directory,
                                                         uint64_t offset) const {
  const uint64_t at = offset == 0 ? 0 : offset - 1;
  std::vector<Entry> found;
  const uint64_t blocks = div_up(directory.disk.size, erofs::kBlockSize);
  size_t skip = at & ((uint64_t{1} << kEntryBits) - 1);
  for (uint64_t block = at >> kEntryBits; block < blocks && found.empty(); ++block, skip = 0) {
    RUNNEL_TRY(const Bytes bytes, reader_.content_block(directory, block));
    std::vector<erofs::Dirent> entries;
    RUNNEL_DO(erofs::load_directory_block(bytes, entries));
    for (size_t i = skip; i < entries.size(); ++i) {
      const bool last = i + 1 == entries.size();
      const uint64_t next = last ? (block + 1) << kEntryBits : (block << kEntryBits) + i + 1;
      found.push_back({.name = entries[i].name,
                       .inode = entries[i].nid,
                       .type = directory_type(entries[i].type),
                       .next = next + 1});
    }
  }
  return found;
}

Result<std::vector<Piece>> ImageTree::pieces(const erofs::Node& file, uint64_t offset,
                                             uint64_t length) const {
  std::vector<Piece> pieces;
  if (offset >= file.disk.size) return pieces;
  const uint64_t end = offset + std::min(length, file.disk.size - offset);
  RUNNEL_TRY(const auto extents, reader_.extents(file));
  uint64_t at = offset;
  for (const auto& extent : extents) {
    const uint64_t begin = extent.file_block * erofs::kBlockSize;
    const uint64_t past = begin + extent.blocks * erofs::kBlockSize;
    if (past <= at) continue;
    if (begin >= end) break;
    if (begin > at) pieces.push_back({.length = begin - at});
    at = std::max(at, begin);
    const uint64_t here = std::min(past, end) - at;
    pieces.push_back({.layer = extent.device - 1u,
                      .device_offset = extent.device_block * erofs::kBlockSize + (at - begin),
                      .length = here});
    at += here;
  }
  if (at < end) pieces.push_back({.length = end - at});
  return pieces;
}

fuse_kstatfs ImageTree::statfs() const {
  fuse_kstatfs stat{};
  for (const auto& device : reader_.devices()) stat.blocks += device.blocks;
  stat.files = reader_.superblock().inode_count;
  stat.bsize = erofs::kBlockSize;
  stat.frsize = erofs::kBlockSize;
  stat.namelen = erofs::kMaxNameSize;
  return stat;
}

}  // namespace runnel::engine
