// What the validator asks of xattrs.
//
// An inode names what it shares with others by four bytes, and that may be an access list of 64 KiB
// whose every entry counts. So the area of shared xattrs is read once from its front to its end, as
// the writer filled it, and an inode may only name what begins there.
#pragma once

#include <cstdint>
#include <vector>

#include "base/bytes.h"
#include "base/error.h"
#include "erofs/reader.h"

namespace runnel::erofs {

class XattrCheck {
 public:
  // The reader must outlive this.
  explicit XattrCheck(const Reader& reader) : reader_(reader) {}

  // First this, once, for the image that the reader has: kInvalid unless its area, where it has
  // one, is one valid xattr behind the other and then zeros up to the end of their last block and
  // of the image.
  Result<void> read_shared(uint64_t image_size);
  // kInvalid unless the inode's xattrs are well formed and no two have one name.
  Result<void> check(const Node& node);

 private:
  Result<void> add_shared(uint32_t id);
  Result<void> add_own(Bytes entries);

  bool starts_at(uint64_t id) const { return (starts_[id / 64] >> (id % 64) & 1) != 0; }

  const Reader& reader_;
  Bytes area_;
  std::vector<uint64_t> starts_;  // of the area: a bit for each four bytes, set where one begins
  std::vector<XattrName> names_;  // of the inode that is looked at
};

}  // namespace runnel::erofs
