// A disk that fails, from a chosen system call on: it is full, say.
//
// The functions that write and sync are taken over for the whole program (failing_disk.cc),
// libraries such as SQLite included, and go to the kernel unless a FailingDisk lives. Only for
// programs that link failing_disk.cc, and not while other threads write.
#pragma once

#include <cerrno>
#include <cstddef>

namespace runnel::test {

class FailingDisk {
 public:
  enum class At { kWrite, kSync };

  // Calls of this kind fail with `error` after the first `good` of them. One lives at a time.
  FailingDisk(At at, size_t good, int error = ENOSPC);
  ~FailingDisk();
  FailingDisk(const FailingDisk&) = delete;
  FailingDisk& operator=(const FailingDisk&) = delete;

  // How many have failed.
  size_t failed() const;
};

}  // namespace runnel::test
