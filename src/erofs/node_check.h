// What the validator asks of a single inode, whatever names it.
#pragma once

#include "base/error.h"
#include "erofs/reader.h"
#include "erofs/xattr_check.h"

namespace runnel::erofs {

// The parts of the image that an inode takes for itself.
struct Footprint {
  uint64_t inline_size = 0;  // from the inode on: itself, xattrs, inline data, chunk indexes
  uint64_t block = 0;        // whole blocks elsewhere
  uint64_t blocks = 0;
  uint64_t device_blocks = 0;  // of a file's data
};

// kInvalid unless the inode has one of the shapes that the writer gives to its type. Directories'
// entries are not looked at.
Result<Footprint> check_node(const Reader& reader, XattrCheck& xattrs, const Node& node);

}  // namespace runnel::erofs
