#include "base/fd.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>

namespace runnel {

UniqueFd& UniqueFd::operator=(UniqueFd&& other) noexcept {
  if (this != &other) {
    reset();
    fd_ = std::exchange(other.fd_, -1);
  }
  return *this;
}

void UniqueFd::reset() {
  if (fd_ >= 0) ::close(fd_);
  fd_ = -1;
}

Result<UniqueFd> open_file(const std::string& path, int flags, mode_t mode) {
  UniqueFd fd(::open(path.c_str(), flags | O_CLOEXEC, mode));
  if (!fd) return fail_errno("open {}", path);
  return fd;
}

Result<size_t> read_up_to_at(int fd, MutableBytes into, uint64_t offset) {
  size_t done = 0;
  while (done < into.size()) {
    const ssize_t n =
        ::pread(fd, into.data() + done, into.size() - done, static_cast<off_t>(offset + done));
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) return fail_errno("read {} bytes at {}", into.size(), offset);
    if (n == 0) break;
    done += static_cast<size_t>(n);
  }
  return done;
}

Result<void> read_exact_at(int fd, MutableBytes into, uint64_t offset) {
  RUNNEL_TRY(const size_t done, read_up_to_at(fd, into, offset));
  if (done != into.size()) {
    return fail(Code::kInvalid, "file ends at {}, wanted {} bytes at {}", offset + done,
                into.size(), offset);
  }
  return {};
}

Result<void> write_all_at(int fd, Bytes bytes, uint64_t offset) {
  while (!bytes.empty()) {
    const ssize_t n = ::pwrite(fd, bytes.data(), bytes.size(), static_cast<off_t>(offset));
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) return fail_errno("write {} bytes at {}", bytes.size(), offset);
    bytes = bytes.subspan(static_cast<size_t>(n));
    offset += static_cast<uint64_t>(n);
  }
  return {};
}

Result<void> write_all(int fd, Bytes bytes) {
  while (!bytes.empty()) {
    const ssize_t n = ::write(fd, bytes.data(), bytes.size());
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) return fail_errno("write {} bytes", bytes.size());
    bytes = bytes.subspan(static_cast<size_t>(n));
  }
  return {};
}

Result<uint64_t> file_size(int fd) {
  struct stat info;
  if (::fstat(fd, &info) != 0) return fail_errno("stat");
  return static_cast<uint64_t>(info.st_size);
}

Result<Buffer> read_file(const std::string& path, uint64_t limit) {
  RUNNEL_TRY(const UniqueFd fd, open_file(path, O_RDONLY));
  RUNNEL_TRY(const uint64_t size, file_size(fd.get()));
  if (size > limit) return fail(Code::kExhausted, "{}: {} bytes, limit {}", path, size, limit);
  Buffer bytes(size);
  if (auto read = read_exact_at(fd.get(), bytes, 0); !read) {
    return std::unexpected(read.error().in(path));
  }
  return bytes;
}

}  // namespace runnel
