#include <unordered_map>

#include "erofs/reader.h"

namespace runnel::erofs {
namespace {

class TreeReader {
 public:
  TreeReader(const Reader& reader, uint64_t max_inodes)
      : reader_(reader), max_inodes_(max_inodes) {}

  Result<Tree> read() {
    tree_.devices = reader_.devices();
    RUNNEL_DO(add(reader_.root(), 0));
    // Directories are filled in the order in which they were added; add() grows the vector.
    for (uint32_t index = 0; index < tree_.inodes.size(); ++index) RUNNEL_DO(fill(index));
    return std::move(tree_);
  }

 private:
  // The index of this inode, which is read when it is new.
  Result<uint32_t> add(uint64_t nid, uint32_t parent);
  Result<void> fill(uint32_t index);

  const Reader& reader_;
  const uint64_t max_inodes_;
  Tree tree_;
  std::vector<uint64_t> nids_;
  std::unordered_map<uint64_t, uint32_t> by_nid_;
};

Result<uint32_t> TreeReader::add(uint64_t nid, uint32_t parent) {
  const auto [at, is_new] = by_nid_.try_emplace(nid, static_cast<uint32_t>(tree_.inodes.size()));
  if (!is_new) {
    if ((tree_.inodes[at->second].mode & 0170000) == 0040000) {
      return fail(Code::kInvalid, "erofs: directory {} is named twice", nid);
    }
    return at->second;
  }
  if (tree_.inodes.size() >= max_inodes_) {
    return fail(Code::kExhausted, "erofs: more than {} inodes", max_inodes_);
  }
  RUNNEL_TRY(const Node node, reader_.node(nid));
  Inode inode;
  inode.mode = node.disk.mode;
  inode.nlink = node.disk.nlink;
  inode.uid = node.disk.uid;
  inode.gid = node.disk.gid;
  inode.mtime_s = node.disk.mtime_s;
  inode.mtime_ns = node.disk.mtime_ns;
  if (node.is_directory()) inode.parent = parent;
  tree_.inodes.push_back(std::move(inode));
  nids_.push_back(nid);
  return at->second;
}

Result<void> TreeReader::fill(uint32_t index) {
  RUNNEL_TRY(const Node node, reader_.node(nids_[index]));
  RUNNEL_TRY(const std::vector<XattrView> xattrs, reader_.xattrs(node));
  for (const XattrView& xattr : xattrs) {
    tree_.inodes[index].xattrs.emplace_back(xattr.name,
                                            Buffer(xattr.value.begin(), xattr.value.end()));
  }
  if (node.is_directory()) {
    RUNNEL_TRY(const std::vector<Dirent> entries, reader_.entries(node));
    for (const Dirent& entry : entries) {
      if (entry.name == "." || entry.name == "..") continue;
      RUNNEL_TRY(const uint32_t child, add(entry.nid, index));
      tree_.inodes[index].entries.push_back({std::string(entry.name), child});
    }
  } else if (node.is_symlink()) {
    RUNNEL_TRY(tree_.inodes[index].symlink_target, reader_.symlink_target(node));
  } else if (node.is_regular()) {
    tree_.inodes[index].size = node.disk.size;
    RUNNEL_TRY(tree_.inodes[index].extents, reader_.extents(node));
  } else {
    tree_.inodes[index].rdev = node.rdev();
  }
  return {};
}

}  // namespace

Result<Tree> read_tree(const Reader& reader, uint64_t max_inodes) {
  return TreeReader(reader, max_inodes).read();
}

}  // namespace runnel::erofs
