// A layer's tree: everything that one layer says about names, without file contents.
//
// It keeps what merging needs and the layer's own tar would say: whiteouts, opaque directories, and
// which directories no entry named. Stored in the layer blob as one zstd frame; integers without a
// width are LEB128 varints, "z" marks zigzag:
//
//    magic "RNLTREE\0"   version u32 = 1   inode count u32   then for each inode, in preorder:
//
//    flags u8        bit 0 opaque, bit 1 implied (directories only)
//    mode u16        with the S_IFMT bits
//    uid  gid  mtime_s z  mtime_ns
//    xattr count, each: name size, name, value size, value       (ascending names)
//    regular file    size, extent count, each: file_block, device_block, blocks
//    symbolic link   size, target
//    device          rdev (Linux new_encode_dev)
//    directory       entry count, each: name size, name, inode   (ascending names)
//
// An entry whose inode is 0 is a whiteout: the name is absent here and in all lower layers. Inode 0
// is the root. A directory is named by exactly one entry, of an inode before it; other inodes by
// one or more (hard links).
#pragma once

#include <cstdint>
#include <vector>

#include "base/bytes.h"
#include "base/error.h"
#include "erofs/tree.h"

namespace runnel::artifact {

inline constexpr uint32_t kWhiteout = 0;
inline constexpr uint8_t kOpaque = 1;   // hides what lower layers have in this directory
inline constexpr uint8_t kImplied = 2;  // only names below it were in the tar

// What an untrusted tree may ask for before it is refused.
struct TreeLimits {
  uint64_t max_bytes = uint64_t{1} << 30;
  uint32_t max_inodes = 16u << 20;
  uint32_t max_depth = 1024;
  uint32_t max_xattrs = 1024;  // of an inode
  // Of LayerTree::memory. A few bytes may say what takes a hundred: the converter has its process
  // limited, a node says here what it can spare.
  uint64_t max_memory = uint64_t{16} << 30;
};

// `inodes[i]` and `flags[i]` belong together. Extents have device 0: it is this layer's own.
struct LayerTree {
  std::vector<erofs::Inode> inodes;
  std::vector<uint8_t> flags;
  // What it may take while it is merged and written as an image, at most: some 700 bytes a file.
  // Counted by parse_layer_tree().
  uint64_t memory = 0;
};

// The stored form; equal trees give equal bytes. Drops inodes that no entry reaches, sorts entries
// and xattrs, and numbers inodes in preorder.
Buffer serialize(const LayerTree& tree);

// Checks every rule above, and that extents ascend and stay within `device_blocks`. kExhausted when
// there are more bytes, or they ask for more memory, than the limits allow; what would be too much
// is refused before it is taken.
Result<LayerTree> parse_layer_tree(Bytes bytes, uint64_t device_blocks,
                                   const TreeLimits& limits = {});

}  // namespace runnel::artifact
