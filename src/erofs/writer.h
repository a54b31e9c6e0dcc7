// Writes a Tree as an EROFS metadata image.
//
// The image holds no file data: it is a superblock, the device table, inodes, directories and
// shared xattrs, in 4 KiB blocks, and mounts on kernels from 5.16 on together with one device per
// slot. The same tree and options give the same bytes.
#pragma once

#include <array>

#include "base/bytes.h"
#include "base/error.h"
#include "erofs/tree.h"

namespace runnel::erofs {

struct WriteOptions {
  std::array<std::byte, 16> uuid{};
  uint64_t build_time = 0;  // seconds; no file shows it
  uint64_t max_bytes = UINT64_MAX;
};

// kInvalid when the tree breaks a rule of tree.h, kUnsupported when the format cannot say it (a
// file of more than kMaxFileSize, too many xattr bytes, …); the message names the file's path.
// kExhausted when the image would be larger than `max_bytes`: a sparse file of a few bytes in the
// tree may need 64 KiB of it. Needs memory for the image and about 24 bytes per inode. Thread-safe.
Result<Buffer> write_image(const Tree& tree, const WriteOptions& options = {});

// How many bytes write_image() would give, without writing them.
Result<uint64_t> image_size(const Tree& tree);

}  // namespace runnel::erofs
