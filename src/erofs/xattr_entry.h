// One xattr as it stands on disk: behind its inode, or in the area that inodes share.
#pragma once

#include "base/bytes.h"
#include "base/error.h"
#include "erofs/format.h"

namespace runnel::erofs {

struct XattrEntry {
  XattrName name;
  Bytes value;
  uint64_t size = 0;  // with what fills it up to where another may start
};

// The one that `from` begins with; its name and value are views. kInvalid when these are cut off
// (what fills up behind them may be), or no xattr can have the name.
Result<XattrEntry> load_xattr(Bytes from);

}  // namespace runnel::erofs
