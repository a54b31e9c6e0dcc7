// The model of a file system tree: what the image writer takes and what whoever merges layers
// fills.
//
// Inodes stand in one vector and name each other by index, so a hard link is two directory entries
// with one index, and half a million inodes cost about 150 bytes each plus their names and extents.
// File contents are not here: extents say on which device (one per layer, slots from 1 up) and
// where on it they lie.
#pragma once

#include <bit>
#include <cstdint>
#include <string>
#include <utility>
#include <vector>

#include "base/bytes.h"

namespace runnel::erofs {

inline constexpr uint32_t kBlockBits = 12;
inline constexpr uint64_t kBlockSize = uint64_t{1} << kBlockBits;

// No file needs more chunk indexes than this, however large and sparse it is.
inline constexpr uint64_t kMaxChunkIndexes = 8192;
// The largest chunk that the format can say: 2^31 blocks, 8 TiB.
inline constexpr uint64_t kMaxChunkBlocks = uint64_t{1} << 31;
// Follows from the two: 64 PiB. The writer refuses larger files.
inline constexpr uint64_t kMaxFileSize = kMaxChunkIndexes * kMaxChunkBlocks * kBlockSize;
// Block addresses have 32 bits and all ones means "hole": a device ends just below 16 TiB.
inline constexpr uint64_t kMaxDeviceBlocks = 0xffffffff;

inline constexpr size_t kMaxDepth = 2048;  // directories below each other; PATH_MAX allows no more
inline constexpr size_t kMaxNameSize = 255;
inline constexpr size_t kMaxSymlinkSize = 4095;
inline constexpr size_t kMaxXattrValueSize = 65535;  // the kernel's 65536 does not fit the format
inline constexpr size_t kMaxDevices = 4096;          // our limit; the format has 16 bits
inline constexpr size_t kMaxDeviceTagSize = 64;

// How finely a file of `file_size` bytes may be cut, in blocks (a power of two).
//
// A file with a single extent that covers all of it needs no cutting, and neither does one without
// any extent (all hole). Every other file must keep its extents on this grid: file_block is a
// multiple of the unit, and the extent ends on a multiple of the unit or with the file. Where the
// data ends earlier, whoever lays out the device pads it with zero blocks up to the grid. The unit
// is one block for files of up to 32 MiB and 128 MiB for a file of 1 TiB.
constexpr uint64_t extent_unit_blocks(uint64_t file_size) {
  return std::bit_ceil(div_up(div_up(file_size, kBlockSize), kMaxChunkIndexes));
}

// `blocks` blocks of a file, from `file_block` on, lie on `device` from `device_block` on. What no
// extent covers is a hole and reads as zeros. The last block may reach past the end of the file;
// its bytes there are never shown.
struct Extent {
  uint64_t file_block = 0;
  uint64_t device_block = 0;
  uint64_t blocks = 0;
  uint16_t device = 0;  // slot, from 1 up: Tree::devices[device - 1]

  bool operator==(const Extent&) const = default;
};

struct DirEntry {
  std::string name;  // 1 to 255 bytes, any but '/' and NUL; "." and ".." are not listed
  uint32_t inode = 0;

  bool operator==(const DirEntry&) const = default;
};

struct Inode {
  uint16_t mode = 0;   // with the S_IFMT bits
  uint32_t nlink = 0;  // 0: the writer counts names (a directory: 2 and its subdirectories)
  uint32_t uid = 0;
  uint32_t gid = 0;
  int64_t mtime_s = 0;
  uint32_t mtime_ns = 0;
  uint32_t rdev = 0;    // devices only; the kernel's new_encode_dev: see encode_dev()
  uint64_t size = 0;    // regular files only; the writer derives it for all others
  uint32_t parent = 0;  // directories only, the root's own is 0; the writer goes by `entries`
  std::string symlink_target;
  std::vector<std::pair<std::string, Buffer>> xattrs;  // full names ("user.x"), any order
  std::vector<Extent> extents;                         // regular files; ascending, no overlap
  std::vector<DirEntry> entries;                       // directories; any order
};

struct Device {
  uint64_t blocks = 0;
  std::string tag;  // at most 64 bytes, without NUL; informative

  bool operator==(const Device&) const = default;
};

// inodes[0] is the root directory. A directory has exactly one entry that names it; an inode that
// no entry reaches is not written.
struct Tree {
  std::vector<Inode> inodes;
  std::vector<Device> devices;
};

// Device numbers as Inode::rdev has them: minor bits 0-7, major bits 8-19, minor's rest above.
constexpr uint32_t encode_dev(uint32_t major, uint32_t minor) {
  return (minor & 0xff) | ((major & 0xfff) << 8) | ((minor & ~uint32_t{0xff}) << 12);
}

}  // namespace runnel::erofs
