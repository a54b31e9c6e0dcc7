// A disk that is full, from a chosen system call on.
//
// The functions that write and sync are taken over for the whole program (full_disk.cc), libraries
// such as SQLite included, and go to the kernel unless a FullDisk lives. Only for programs that
// link full_disk.cc, and not while other threads write.
#pragma once

#include <cstddef>

namespace runnel::test {

class FullDisk {
 public:
  enum class At { kWrite, kSync };

  // Calls of this kind fail with ENOSPC after the first `good` of them. One lives at a time.
  FullDisk(At at, size_t good);
  ~FullDisk();
  FullDisk(const FullDisk&) = delete;
  FullDisk& operator=(const FullDisk&) = delete;

  // How many have failed.
  size_t failed() const;
};

}  // namespace runnel::test
