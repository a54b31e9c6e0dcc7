// Where everything of a tree goes in its image: the writer's first two passes.
//
// Inodes go breadth first, so that a directory's blocks and the inodes it names stand together and
// a walk reads the image front to back. Nothing of the size of an inode is kept, only where it
// goes; how it is stored (its Shape) is derived again when it is written.
#pragma once

#include <vector>

#include "base/error.h"
#include "erofs/chunks.h"
#include "erofs/format.h"
#include "erofs/space.h"
#include "erofs/tree.h"
#include "erofs/xattrs.h"

namespace runnel::erofs {

inline constexpr uint64_t kDeviceTableAt = kSuperblockAt + kSuperblockSize;

// How one inode is stored.
struct Shape {
  Layout layout = Layout::kFlatPlain;
  uint64_t size = 0;        // as stat shows it
  uint64_t xattr_size = 0;  // bytes of the xattr body
  uint64_t tail_size = 0;   // bytes behind that: inline data, or chunk indexes with their alignment
  uint64_t blocks = 0;      // whole blocks elsewhere
  ChunkPlan chunks;         // regular files

  uint64_t bytes() const { return kInodeSize + xattr_size + tail_size; }
};

struct Placement {
  uint32_t nid = 0;
  uint32_t block = 0;   // of a directory's or symlink's whole blocks
  uint32_t parent = 0;  // the directory that reached it first
  uint32_t names = 0;   // entries that name it; of a directory: its subdirectories
  uint16_t depth = 0;
  bool reached = false;
};

class Plan {
 public:
  // Checks the whole tree on the way; the errors are those of write_image(). The tree must outlive
  // the plan.
  static Result<Plan> make(const Tree& tree);

  uint64_t image_size() const { return image_size_; }
  uint64_t shared_xattrs_at() const { return shared_xattrs_at_; }
  // The inodes to write, the root first.
  const std::vector<uint32_t>& order() const { return order_; }
  const Placement& placement(uint32_t index) const { return placements_[index]; }
  const XattrStore& xattrs() const { return xattrs_; }

  Result<Shape> shape_of(uint32_t index);
  // A directory's entries in ascending order, "." and ".." among them. Valid until the next call of
  // this or shape_of().
  const std::vector<const DirEntry*>& sorted_entries(uint32_t index);

 private:
  explicit Plan(const Tree& tree) : tree_(&tree), placements_(tree.inodes.size()) {}

  Result<void> put_in_order();
  Result<void> reach_entries(uint32_t directory);
  Result<void> reach(uint32_t directory, const DirEntry& entry);
  Result<void> lay_out();
  Result<void> place(uint32_t index, Space& space);
  void place_blocks(uint32_t index, const Shape& shape, Space& space);
  void shape_directory(uint32_t index, Shape& shape);

  std::string path_of(uint32_t index) const;
  Error located(const Error& error, uint32_t index) const;

  const Tree* tree_;
  std::vector<Placement> placements_;
  std::vector<uint32_t> order_;
  XattrStore xattrs_;
  uint64_t shared_xattrs_at_ = 0;
  uint64_t image_size_ = 0;

  std::vector<const DirEntry*> entries_;  // of sorted_entries()
  DirEntry dot_{".", 0};
  DirEntry dot_dot_{"..", 0};
};

}  // namespace runnel::erofs
