// Builds a layer's tree from its tar entries, with the results that containerd's own unpack has.
//
// containerd 1.6 (archive/tar.go, applied to an overlayfs upper directory) decides what is right
// where the specification is silent; each rule below was read there and is held by a test against
// it:
//   - an entry replaces an earlier one of the same name, except that a directory over a directory
//     keeps its content; a hard link's own attributes go to the inode it names;
//   - names resolve through symbolic links of this layer only; a parent that no entry named is made
//     (kImplied); the root directory's own entry is ignored; so is an opaque marker in the root;
//   - trusted.* and unknown xattrs are dropped, user.* on anything but files and directories too;
//     chmod comes last and changes ACLs; default ACLs are inherited; times outside 1970 to 2262
//     become 1970; a character device 0:0 is a whiteout.
// An entry that makes that unpack fail is an error here with the reason, and so are absolute names,
// names whose ".." leads out of the image, and the few orders in which the result would depend on
// the layer's place in the image.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "artifact/layer_tree.h"
#include "base/error.h"
#include "tar/entry.h"

namespace runnel::artifact {

// Whether the device image has this entry's content: regular files, but for those that are markers.
// What TreeBuilder::add() says of an entry that it takes. kInvalid for names that it refuses.
Result<bool> lies_on_device(const tar::Entry& entry);

class TreeBuilder {
 public:
  TreeBuilder();

  // Takes the next entry. For a regular file: its inode, whose extents the caller sets before the
  // next call. kInvalid errors name the entry.
  Result<std::optional<uint32_t>> add(const tar::Entry& entry);
  void set_extents(uint32_t inode, std::vector<erofs::Extent> extents);

  // The finished tree; the builder is used up.
  Result<LayerTree> finish();

 private:
  using Path = std::vector<std::string>;

  Result<std::optional<uint32_t>> place(const tar::Entry& entry);
  Result<Path> resolve(const Path& path) const;
  Result<uint32_t> make_parents(const Path& path);
  Result<void> whiteout(uint32_t parent, std::string_view base);
  Result<uint32_t> hard_link(const tar::Entry& entry) const;
  Result<void> apply_attributes(uint32_t inode, const tar::Entry& entry);
  Result<void> set_xattr(erofs::Inode& inode, const std::string& name, const Buffer& value) const;
  uint32_t make_inode(uint32_t parent, uint16_t mode);
  // The inode at a resolved path, kWhiteout included; none when nothing is there.
  std::optional<uint32_t> lookup(const Path& path) const;
  std::optional<uint32_t> child(uint32_t directory, const std::string& name) const;
  // Adds to the count of implied directories below `directory` and below those above it.
  void count_implied(uint32_t directory, int64_t change);
  void remove_child(uint32_t parent, const std::string& name, uint32_t inode);

  LayerTree tree_;
  std::vector<std::map<std::string, uint32_t, std::less<>>> children_;  // by inode
  // By inode, of directories: how many implied ones lie below. So a marker costs no search.
  std::vector<uint32_t> implied_below_;
  uint64_t held_bytes_ = 0;  // of names and xattrs, which TreeLimits bounds
  // containerd sets directories' times after everything else, by name.
  std::vector<std::pair<Path, std::pair<int64_t, uint32_t>>> directory_times_;
};

}  // namespace runnel::artifact
