// Decides whether an EROFS metadata image may be mounted.
//
// An image that came over the network is hostile until this has read all of it: the kernel's own
// checks stop crashes, not directories with two parents, entries that lie about their type or files
// that point past their device. What is accepted is narrower than EROFS: exactly the shapes that
// write_image() produces, every reserved byte zero, no byte with two meanings. So a walk of an
// accepted image meets no error and is finite, with the kernel and with Reader alike.
//
// Linear in the size of the image, whatever its inodes share and however its names fall into
// directories. Takes two bits of memory for each 32 bytes of it, one for each four bytes of shared
// xattrs, and twelve bytes for each directory that is still to be walked. Thread-safe.
#pragma once

#include <functional>
#include <vector>

#include "base/bytes.h"
#include "base/error.h"
#include "erofs/tree.h"

namespace runnel::erofs {

struct Limits {
  uint64_t image_bytes = uint64_t{4} << 30;
  uint64_t inodes = uint64_t{1} << 24;
  uint64_t depth = kMaxDepth;
  uint64_t devices = kMaxDevices;
};

struct Summary {
  uint64_t inodes = 0;
  uint64_t directories = 0;
  uint64_t entries = 0;             // without "." and ".."
  uint64_t depth = 0;               // of the deepest inode; the root's is 0
  uint64_t device_blocks_used = 0;  // by all files together; shared blocks count each time
  std::vector<Device> devices;      // what the caller must hold against the layers' real sizes
};

// kInvalid (with the inode's number) when the image is not what write_image() could have written,
// kUnsupported for features that it never writes, kExhausted when a limit is passed.
// `rest` is called after every 2^15 inodes: who has mapped the image may let go of its pages then.
Result<Summary> validate(Bytes image, const Limits& limits = {},
                         const std::function<void()>& rest = {});

}  // namespace runnel::erofs
