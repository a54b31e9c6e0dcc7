// EROFS on disk: the part of the format that Runnel writes and accepts.
//
// Sources: the kernel's fs/erofs/erofs_fs.h and Documentation/filesystems/erofs.rst (5.16 to 6.18).
// All integers are little-endian, blocks have 4096 bytes.
//
// Superblock, at byte 1024 of the image:
//
//    0 magic u32          4 checksum u32       8 feature_compat u32    12 block_bits u8
//   13 ext_slots u8 = 0  14 root_nid u16      16 inode_count u64       24 build_time u64
//   32 build_time_ns u32 36 blocks u32        40 meta_block u32 = 0    44 xattr_block u32
//   48 uuid[16]          64 volume_name[16]   80 feature_incompat u32  84 compression u16 = 0
//   86 extra_devices u16 88 device_slot u16   90 dir_block_bits u8 = 0 91 reserved[37] = 0
//
//   checksum: CRC-32C (start ~0, not inverted at the end) over bytes 1024 to 4095 of the image with
//   the field itself zero. device_slot: where the device table starts, in units of 128 bytes.
//
// Device slot, 128 bytes; slot numbers count from 1:
//
//    0 tag[64]           64 blocks u32        68 mapped_block u32 = 0  72 reserved[56] = 0
//
// Inode, extended form, at byte meta_block * 4096 + nid * 32. (The compact form has no mtime and
// 16-bit owners; we neither write nor accept it.)
//
//    0 format u16         2 xattr_count u16    4 mode u16               6 reserved u16 = 0
//    8 size u64          16 what u32          20 ino u32               24 uid u32
//   28 gid u32           32 mtime s64         40 mtime_ns u32          44 nlink u32
//   48 reserved[16] = 0
//
//   format: bit 0 is 1 (extended), bits 1-3 the layout. `what`: first block (flat layouts), device
//   number (devices), chunk format (bits 0-4: log2 of blocks in a chunk, bit 5: 8-byte indexes).
//
//   After the inode: the xattr body, when xattr_count is not 0, of 12 + 4 * (xattr_count - 1)
//   bytes; then, by layout:
//   0 flat plain    nothing; the bytes are whole blocks from `what` on
//   2 flat inline   the last, partial block, which must end in the block where it starts; the whole
//                   blocks before it are from `what` on
//   4 chunk based   from the next multiple of 8 bytes, one index a chunk:
//                     0 advise u16 = 0    2 device u16    4 block u32 (all ones: a hole)
//
// Xattr body and entry:
//
//    0 name_filter u32 = 0    4 shared_count u8    5 reserved[7] = 0    12 shared ids u32 each
//   then entries, each starting on a multiple of 4 bytes:
//    0 name_size u8           1 prefix u8          2 value_size u16     4 name, value
//   A shared id names an entry at byte xattr_block * 4096 + id * 4. A body of 12 bytes only (no
//   shared ids, no entries) is refused by the kernel.
//
// Directory: blocks of entries, each block with its names behind its entries. Entries, "." and ".."
// among them, ascend bytewise through all blocks. A name ends where the next one starts; the last
// name of a block ends at a NUL or with the block or directory.
//
//    0 nid u64            8 name_offset u16 (in the block)             10 type u8    11 reserved u8
//
//   name_offset of a block's first entry is 12 * the number of entries.
#pragma once

#include <array>
#include <cstdint>
#include <cstring>
#include <string>
#include <string_view>

#include "base/bytes.h"
#include "base/error.h"
#include "erofs/tree.h"

namespace runnel::erofs {

inline constexpr uint32_t kMagic = 0xe0f5e1e2;
inline constexpr uint64_t kSuperblockAt = 1024;
inline constexpr uint64_t kSuperblockSize = 128;

inline constexpr uint32_t kCompatChecksum = 1;
inline constexpr uint32_t kCompatMtime = 2;
inline constexpr uint32_t kIncompatChunkedFile = 4;
inline constexpr uint32_t kIncompatDeviceTable = 8;

inline constexpr uint64_t kDeviceSlotSize = 128;
inline constexpr uint64_t kInodeSlotSize = 32;
inline constexpr uint64_t kInodeSize = 64;
inline constexpr uint64_t kDirentSize = 12;
inline constexpr uint64_t kChunkIndexSize = 8;
inline constexpr uint64_t kXattrHeaderSize = 12;
inline constexpr uint64_t kXattrEntrySize = 4;
inline constexpr uint64_t kMaxXattrBody = kXattrHeaderSize + 4 * (0xffff - 1);
inline constexpr size_t kMaxXattrNameSize = 255;  // the whole name, prefix included
inline constexpr uint32_t kHole = 0xffffffff;
inline constexpr uint16_t kChunkIndexes = 0x20;
inline constexpr uint16_t kChunkBitsMask = 0x1f;
inline constexpr uint64_t kMaxRootNid = 0xffff;

enum class Layout : uint8_t { kFlatPlain = 0, kFlatInline = 2, kChunkBased = 4 };

struct Superblock {
  uint32_t checksum = 0;
  uint32_t feature_compat = 0;
  uint8_t block_bits = 0;
  uint16_t root_nid = 0;
  uint64_t inode_count = 0;
  uint64_t build_time = 0;
  uint32_t build_time_ns = 0;
  uint32_t blocks = 0;
  uint32_t meta_block = 0;
  uint32_t xattr_block = 0;
  std::array<std::byte, 16> uuid{};
  uint32_t feature_incompat = 0;
  uint16_t extra_devices = 0;
  uint16_t device_slot = 0;
};

// `at` has kSuperblockSize bytes. What the struct does not name is written as zero, and not looked
// at when loading.
void store_superblock(std::byte* at, const Superblock& superblock);
Superblock load_superblock(const std::byte* at);

// Of the image's first block.
uint32_t superblock_checksum(Bytes first_block);

// `at` has kDeviceSlotSize bytes. The device fits the limits of tree.h.
void store_device(std::byte* at, const Device& device);
Device load_device(const std::byte* at);

struct DiskInode {
  uint16_t format = 0;
  uint16_t xattr_count = 0;
  uint16_t mode = 0;
  uint64_t size = 0;
  uint32_t what = 0;
  uint32_t ino = 0;
  uint32_t uid = 0;
  uint32_t gid = 0;
  int64_t mtime_s = 0;
  uint32_t mtime_ns = 0;
  uint32_t nlink = 0;
};

// `at` has kInodeSize bytes. In line: a validator does both for each inode.
inline void store_inode(std::byte* at, const DiskInode& inode) {
  std::memset(at, 0, kInodeSize);
  store_le(at, inode.format);
  store_le(at + 2, inode.xattr_count);
  store_le(at + 4, inode.mode);
  store_le(at + 8, inode.size);
  store_le(at + 16, inode.what);
  store_le(at + 20, inode.ino);
  store_le(at + 24, inode.uid);
  store_le(at + 28, inode.gid);
  store_le(at + 32, inode.mtime_s);
  store_le(at + 40, inode.mtime_ns);
  store_le(at + 44, inode.nlink);
}
inline DiskInode load_inode(const std::byte* at) {
  return {.format = load_le<uint16_t>(at),
          .xattr_count = load_le<uint16_t>(at + 2),
          .mode = load_le<uint16_t>(at + 4),
          .size = load_le<uint64_t>(at + 8),
          .what = load_le<uint32_t>(at + 16),
          .ino = load_le<uint32_t>(at + 20),
          .uid = load_le<uint32_t>(at + 24),
          .gid = load_le<uint32_t>(at + 28),
          .mtime_s = load_le<int64_t>(at + 32),
          .mtime_ns = load_le<uint32_t>(at + 40),
          .nlink = load_le<uint32_t>(at + 44)};
}

constexpr uint16_t inode_format(Layout layout) {
  return static_cast<uint16_t>(1 | (static_cast<unsigned>(layout) << 1));
}
constexpr uint64_t xattr_body_size(uint16_t xattr_count) {
  return xattr_count == 0 ? 0 : kXattrHeaderSize + 4 * (uint64_t{xattr_count} - 1);
}

// The dirent type of an inode with this mode; 0 when S_IFMT says nothing known.
uint8_t dirent_type(uint16_t mode);

// How an xattr's full name is stored: a number for its prefix and the rest.
struct XattrName {
  uint8_t prefix = 0;
  std::string_view rest;

  auto operator<=>(const XattrName&) const = default;
};
// kUnsupported for a name that EROFS has no prefix for, kInvalid for an empty, too long or
// NUL-bearing one.
Result<XattrName> split_xattr_name(std::string_view full);
// The inverse; kInvalid when split_xattr_name() cannot have given it.
Result<std::string> join_xattr_name(const XattrName& name);
// Whether join_xattr_name() would give a name, without making it.
Result<void> check_xattr_name(const XattrName& name);
// One of the two whose values the kernel parses.
bool is_posix_acl(std::string_view full_name);
bool is_posix_acl(const XattrName& name);

}  // namespace runnel::erofs
