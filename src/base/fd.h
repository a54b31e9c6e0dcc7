// File descriptors that close themselves, and reads and writes that are never short.
#pragma once

#include <sys/types.h>

#include <string>
#include <utility>

#include "base/bytes.h"
#include "base/error.h"

namespace runnel {

// Owns one descriptor; moved, never copied. -1 is "none".
class UniqueFd {
 public:
  UniqueFd() = default;
  explicit UniqueFd(int fd) : fd_(fd) {}
  UniqueFd(UniqueFd&& other) noexcept : fd_(std::exchange(other.fd_, -1)) {}
  UniqueFd& operator=(UniqueFd&& other) noexcept;
  ~UniqueFd() { reset(); }

  int get() const { return fd_; }
  explicit operator bool() const { return fd_ >= 0; }
  int release() { return std::exchange(fd_, -1); }
  void reset();

 private:
  int fd_ = -1;
};

// open(2) with O_CLOEXEC added.
Result<UniqueFd> open_file(const std::string& path, int flags, mode_t mode = 0644);

// Fills `into` from `offset`; a file that ends before is kInvalid.
Result<void> read_exact_at(int fd, MutableBytes into, uint64_t offset);
// Reads at most into.size() bytes; fewer only at the end of the file.
Result<size_t> read_up_to_at(int fd, MutableBytes into, uint64_t offset);
Result<void> write_all_at(int fd, Bytes bytes, uint64_t offset);
Result<void> write_all(int fd, Bytes bytes);

Result<uint64_t> file_size(int fd);
// The whole file; kExhausted when it is larger than `limit` bytes.
Result<Buffer> read_file(const std::string& path, uint64_t limit);

}  // namespace runnel
