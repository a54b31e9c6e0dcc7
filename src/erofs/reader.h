// Reads an EROFS metadata image that write_image() wrote.
//
// Works on a view (a mapped file, a buffer); copies nothing but names that have to be put together.
// Every access is checked against the image's bounds, so it is safe on any bytes; but only an image
// that validate() accepted is sure to have no contradictions and to be walkable in bounded time.
// Thread-safe; the view must outlive the reader and everything that it returns.
#pragma once

#include <sys/stat.h>

#include <algorithm>
#include <string>
#include <string_view>
#include <vector>

#include "base/bytes.h"
#include "base/error.h"
#include "erofs/directory.h"
#include "erofs/format.h"
#include "erofs/tree.h"

namespace runnel::erofs {

// One inode, as read.
struct Node {
  uint64_t nid = 0;
  Layout layout = Layout::kFlatPlain;
  uint64_t xattr_size = 0;  // bytes of its xattr body
  DiskInode disk;

  bool is_directory() const { return S_ISDIR(disk.mode); }
  bool is_regular() const { return S_ISREG(disk.mode); }
  bool is_symlink() const { return S_ISLNK(disk.mode); }
  uint32_t rdev() const { return disk.what; }  // of a device node
};

struct XattrView {
  std::string name;  // in full: "user.x"
  Bytes value;
};

class Reader {
 public:
  // kInvalid when the superblock or device table is not there, or the checksum is wrong;
  // kUnsupported for features that we do not write.
  static Result<Reader> open(Bytes image);

  const Superblock& superblock() const { return superblock_; }
  const std::vector<Device>& devices() const { return devices_; }
  uint64_t root() const { return superblock_.root_nid; }

  Result<Node> node(uint64_t nid) const;
  // Somebody will ask for that inode soon: has the processor bring it near. Any number will do.
  void prefetch(uint64_t nid) const;

  // With "." and "..", in the order of the disk.
  Result<std::vector<Dirent>> entries(const Node& directory) const;
  // kNotFound when there is no such name.
  Result<Dirent> lookup(const Node& directory, std::string_view name) const;
  // Walks "a/b/c" from the root. Symbolic links on the way are followed (at most 40, never above
  // the root); one at the end is followed when `follow_last`. kNotFound names the missing part.
  Result<Node> resolve(std::string_view path, bool follow_last) const;

  Result<std::string> symlink_target(const Node& symlink) const;
  Result<std::vector<XattrView>> xattrs(const Node& node) const;
  // A regular file's data, ascending, neighbours joined; holes are left out. The last one ends with
  // the file's last block.
  Result<std::vector<Extent>> extents(const Node& file) const;
  // The same without memory: calls `visit` with each chunk that is no hole, neighbours not joined.
  template <class Visit>
  Result<void> for_each_chunk(const Node& file, const Visit& visit) const;
  // The chunk indexes of a regular file that is not empty, as they stand behind its inode.
  Result<Bytes> chunk_indexes(const Node& file) const;

  // The bytes from `at` on; kInvalid when they are not all in the image.
  Result<Bytes> bytes(uint64_t at, uint64_t size) const {
    if (at > image_.size() || size > image_.size() - at) return past_end(at, size);
    return image_.subspan(at, size);
  }
  // How many blocks of content a directory or symlink has, and one of them: whole blocks first,
  // then what is stored behind the inode. The last one ends with the content.
  Result<Bytes> content_block(const Node& node, uint64_t block) const;
  uint64_t inode_at(uint64_t nid) const { return nid * kInodeSlotSize; }

 private:
  explicit Reader(Bytes image) : image_(image) {}

  Result<void> read_devices();
  bool has_inode(uint64_t nid) const {
    return nid < image_.size() / kInodeSlotSize && image_.size() - inode_at(nid) >= kInodeSize;
  }
  std::unexpected<Error> no_inode(uint64_t nid) const;
  std::unexpected<Error> past_end(uint64_t at, uint64_t size) const;
  bool is_in_its_device(const Extent& extent) const {
    return extent.device != 0 && extent.device <= devices_.size() &&
           extent.device_block + extent.blocks <= devices_[extent.device - 1].blocks;
  }

  Bytes image_;
  Superblock superblock_;
  std::vector<Device> devices_;
};

inline Result<Node> Reader::node(uint64_t nid) const {
  if (!has_inode(nid)) return no_inode(nid);
  Node node{.nid = nid, .disk = load_inode(image_.data() + inode_at(nid))};
  node.layout = static_cast<Layout>(node.disk.format >> 1);
  if (node.disk.format != inode_format(node.layout) ||
      (node.layout != Layout::kFlatPlain && node.layout != Layout::kFlatInline &&
       node.layout != Layout::kChunkBased)) {
    return no_inode(nid);
  }
  node.xattr_size = xattr_body_size(node.disk.xattr_count);
  return node;
}

template <class Visit>
Result<void> Reader::for_each_chunk(const Node& file, const Visit& visit) const {
  if (file.is_regular() && file.disk.size == 0) return {};
  RUNNEL_TRY(const Bytes indexes, chunk_indexes(file));
  const uint64_t file_blocks = div_up(file.disk.size, kBlockSize);
  const uint64_t chunk_blocks = uint64_t{1} << (file.disk.what & kChunkBitsMask);

  uint64_t file_block = 0;
  for (uint64_t at = 0; at < indexes.size(); at += kChunkIndexSize, file_block += chunk_blocks) {
    const std::byte* index = indexes.data() + at;
    const uint32_t block = load_le<uint32_t>(index + 4);
    if (block == kHole) continue;
    const Extent chunk{.file_block = file_block,
                       .device_block = block,
                       .blocks = std::min(chunk_blocks, file_blocks - file_block),
                       .device = load_le<uint16_t>(index + 2)};
    if (!is_in_its_device(chunk)) {
      return fail(Code::kInvalid, "erofs: inode {} has {} blocks at {} of device {}", file.nid,
                  chunk.blocks, chunk.device_block, chunk.device);
    }
    visit(chunk);
  }
  return {};
}

// The whole image as a tree again; hard links are one inode. kExhausted when it has more than
// `max_inodes`. Fails when a directory is reached twice.
Result<Tree> read_tree(const Reader& reader, uint64_t max_inodes = uint64_t{1} << 24);

}  // namespace runnel::erofs
