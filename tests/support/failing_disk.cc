#include "support/failing_disk.h"

#include <sys/syscall.h>
#include <unistd.h>

#include <atomic>
#include <cerrno>

namespace runnel::test {

namespace {

struct Countdown {
  std::atomic<bool> armed = false;
  std::atomic<size_t> good = 0;
  std::atomic<size_t> failed = 0;
  std::atomic<int> error = 0;

  // Whether this call is to fail.
  bool fails() {
    if (!armed) return false;
    size_t left = good;
    while (left > 0)
      if (good.compare_exchange_weak(left, left - 1)) return false;
    ++failed;
    errno = error;
    return true;
  }
};

Countdown writes;
Countdown syncs;

Countdown& countdown(FailingDisk::At at) {
  return at == FailingDisk::At::kWrite ? writes : syncs;
}

}  // namespace

FailingDisk::FailingDisk(At at, size_t good, int error) {
  auto& one = countdown(at);
  one.good = good;
  one.failed = 0;
  one.error = error;
  one.armed = true;
}

FailingDisk::~FailingDisk() {
  writes.armed = false;
  syncs.armed = false;
}

size_t FailingDisk::failed() const {
  return writes.failed + syncs.failed;
}

}  // namespace runnel::test

extern "C" {

// Standard output and the like are no disk.
ssize_t write(int descriptor, const void* from, size_t size) {
  if (descriptor > 2 && runnel::test::writes.fails()) return -1;
  return ::syscall(SYS_write, descriptor, from, size);
}

ssize_t pwrite64(int descriptor, const void* from, size_t size, off64_t offset) {
  if (runnel::test::writes.fails()) return -1;
  return ::syscall(SYS_pwrite64, descriptor, from, size, offset);
}

int fsync(int descriptor) {
  if (runnel::test::syncs.fails()) return -1;
  return static_cast<int>(::syscall(SYS_fsync, descriptor));
}

int fdatasync(int descriptor) {
  if (runnel::test::syncs.fails()) return -1;
  return static_cast<int>(::syscall(SYS_fdatasync, descriptor));
}

}  // extern "C"
