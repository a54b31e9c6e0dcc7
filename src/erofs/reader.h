// Reads an EROFS metadata image that write_image() wrote.
//
// Works on a view (a mapped file, a buffer); copies nothing but names that have to be put together.
// Every access is checked against the image's bounds, so it is safe on any bytes; but only an image
// that validate() accepted is sure to have no contradictions and to be walkable in bounded time.
// Thread-safe; the view must outlive the reader and everything that it returns.
#pragma once

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

  bool is_directory() const;
  bool is_regular() const;
  bool is_symlink() const;
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

  // The bytes from `at` on; kInvalid when they are not all in the image.
  Result<Bytes> bytes(uint64_t at, uint64_t size) const;
  // How many blocks of content a directory or symlink has, and one of them: whole blocks first,
  // then what is stored behind the inode. The last one ends with the content.
  Result<Bytes> content_block(const Node& node, uint64_t block) const;
  uint64_t inode_at(uint64_t nid) const { return nid * kInodeSlotSize; }

 private:
  explicit Reader(Bytes image) : image_(image) {}

  Result<void> read_devices();
  Result<Bytes> chunk_indexes(const Node& file) const;

  Bytes image_;
  Superblock superblock_;
  std::vector<Device> devices_;
};

// The whole image as a tree again; hard links are one inode. kExhausted when it has more than
// `max_inodes`. Fails when a directory is reached twice.
Result<Tree> read_tree(const Reader& reader, uint64_t max_inodes = uint64_t{1} << 24);

}  // namespace runnel::erofs
