// Directory blocks: packing sorted names into them, and taking them apart again.
#pragma once

#include <string_view>
#include <vector>

#include "base/bytes.h"
#include "base/error.h"
#include "erofs/format.h"

namespace runnel::erofs {

struct Dirent {
  uint64_t nid = 0;
  uint8_t type = 0;
  std::string_view name;
};

// How the names of one directory fall into blocks. Feed it every name, "." and ".." among them, in
// ascending order.
class DirectoryPacker {
 public:
  // True when this name starts a new block.
  bool add(std::string_view name) {
    const uint64_t cost = kDirentSize + name.size();
    const bool starts_block = blocks_ == 0 || used_ + cost > kBlockSize;
    if (starts_block) {
      ++blocks_;
      used_ = 0;
    }
    used_ += cost;
    return starts_block;
  }

  // Bytes of the whole directory: full blocks, and what the last one needs.
  uint64_t size() const { return blocks_ == 0 ? 0 : (blocks_ - 1) * kBlockSize + used_; }
  uint64_t last_block_size() const { return used_; }

 private:
  uint64_t blocks_ = 0;
  uint64_t used_ = 0;
};

// Writes one block's entries to `block`, which is zeroed and large enough.
void store_directory_block(MutableBytes block, const std::vector<Dirent>& entries);

// The entries of one block (or of the part of the last block that the directory's size covers), in
// their order; the names are views of it. Appends to `entries`. kInvalid when offsets do not ascend
// within the block, or a name is empty, too long, or has a '/' or NUL. Does not look at order, nids
// or types.
Result<void> load_directory_block(Bytes block, std::vector<Dirent>& entries);

}  // namespace runnel::erofs
