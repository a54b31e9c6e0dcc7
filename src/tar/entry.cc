#include "tar/entry.h"

namespace runnel::tar {

const char* to_string(EntryType type) {
  switch (type) {
    case EntryType::kRegular: return "regular file";
    case EntryType::kDirectory: return "directory";
    case EntryType::kSymlink: return "symbolic link";
    case EntryType::kHardLink: return "hard link";
    case EntryType::kCharDevice: return "character device";
    case EntryType::kBlockDevice: return "block device";
    case EntryType::kFifo: return "fifo";
    case EntryType::kGlobalHeader: return "global header";
    case EntryType::kOther: return "entry of another type";
  }
  return "unknown";
}

}  // namespace runnel::tar
