// cachestat(2) is newer than the C library here; its number and structures, from the kernel's
// include/uapi/asm-generic/unistd.h and include/uapi/linux/mman.h:
//
//   cachestat = 451: (fd, const range*, stat*, flags)
//   range  u64 offset, u64 length (0: to the end)
//   stat   u64 cached, dirty, writeback, evicted, recently_evicted: pages
#include "cache/page_cache.h"

#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <vector>

namespace runnel::cache {

namespace {

constexpr long kCachestat = 451;
constexpr uint64_t kWindow = 1 << 30;  // mapped at a time: 256 KiB of answer

struct Range {
  uint64_t offset;
  uint64_t length;
};
struct Pages {
  uint64_t cached;
  uint64_t dirty;
  uint64_t writeback;
  uint64_t evicted;
  uint64_t recently_evicted;
};

uint64_t page_size() {
  return static_cast<uint64_t>(::sysconf(_SC_PAGESIZE));
}

Result<uint64_t> pages_of_window(int fd, uint64_t offset, uint64_t length) {
  void* memory = ::mmap(nullptr, length, PROT_READ, MAP_SHARED, fd, static_cast<off_t>(offset));
  if (memory == MAP_FAILED) return fail_errno("mmap for mincore");
  std::vector<unsigned char> present((length + page_size() - 1) / page_size());
  const int status = ::mincore(memory, length, present.data());
  const int error = errno;
  ::munmap(memory, length);
  errno = error;
  if (status != 0) return fail_errno("mincore");
  return static_cast<uint64_t>(std::ranges::count_if(present, [](auto page) { return page & 1; }));
}

}  // namespace

Result<uint64_t> page_cache_bytes_by_mincore(int fd, uint64_t size) {
  uint64_t pages = 0;
  for (uint64_t offset = 0; offset < size; offset += kWindow) {
    RUNNEL_TRY(const auto found, pages_of_window(fd, offset, std::min(kWindow, size - offset)));
    pages += found;
  }
  return pages * page_size();
}

Result<uint64_t> page_cache_bytes(int fd, uint64_t size) {
  if (size == 0) return 0;  // a length of 0 would mean all
  const Range range{.offset = 0, .length = size};
  Pages pages{};
  if (::syscall(kCachestat, fd, &range, &pages, 0) == 0) return pages.cached * page_size();
  if (errno != ENOSYS && errno != EPERM && errno != EOPNOTSUPP) return fail_errno("cachestat");
  return page_cache_bytes_by_mincore(
      fd, size);  // a seccomp filter says EPERM of what it is too old for
}

}  // namespace runnel::cache
