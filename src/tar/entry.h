// One entry of an archive, as the reader hands it on: all dialects look the same here.
#pragma once

#include <cstdint>
#include <string>
#include <utility>
#include <vector>

#include "base/bytes.h"

namespace runnel::tar {

enum class EntryType : uint8_t {
  kRegular,
  kDirectory,
  kSymlink,
  kHardLink,
  kCharDevice,
  kBlockDevice,
  kFifo,
  kGlobalHeader,  // PAX 'g'. Its records apply to nothing, but containerd still treats its name as
                  // an entry's: it makes missing parents and removes what stood there before.
  kOther,         // a type flag that has no meaning in an image; containerd refuses the layer
};

const char* to_string(EntryType type);

// `length` bytes of a file's content, from `offset` of the file on.
struct Extent {
  uint64_t offset = 0;
  uint64_t length = 0;

  bool operator==(const Extent&) const = default;
};

struct Entry {
  // Bytes as the archive has them: any encoding, never a NUL, but "..", a leading '/', trailing
  // slashes and the empty name are all possible.
  std::string name;
  std::string link_name;  // links only: a symbolic link's target, a hard link's name in the archive
  EntryType type = EntryType::kRegular;
  char type_flag = '0';  // as in the header: tells what kOther is, and '7' and 'S' from '0'
  uint32_t mode = 0;     // the twelve bits 07777
  uint64_t uid = 0;      // may be above 32 bits
  uint64_t gid = 0;
  int64_t mtime_s = 0;  // may be before 1970; mtime_ns counts forward from it
  uint32_t mtime_ns = 0;
  uint32_t dev_major = 0;  // devices only
  uint32_t dev_minor = 0;
  uint64_t size = 0;  // of the file with its holes; 0 for types without content
  // Where the file has data: ascending, neither empty nor touching each other, within `size`. One
  // extent for an ordinary file that is not empty; gaps are holes of a sparse one.
  std::vector<Extent> data_extents;
  // Full names ("security.capability"), each once, ascending. A value may be empty.
  std::vector<std::pair<std::string, Buffer>> xattrs;

  bool operator==(const Entry&) const = default;
};

}  // namespace runnel::tar
