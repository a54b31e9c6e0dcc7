#include "engine/root_lock.h"

#include <fcntl.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <charconv>
#include <cstdlib>
#include <cstring>

namespace runnel::engine {

namespace {

constexpr const char* kVariable = "RUNNEL_ROOT_LOCK";

// The descriptor that an earlier version of this process left, if it is one of `root`.
UniqueFd inherited(const std::string& root) {
  const char* text = std::getenv(kVariable);
  int fd = -1;
  if (text == nullptr || std::from_chars(text, text + std::strlen(text), fd).ec != std::errc()) {
    return {};
  }
  struct stat of_fd;
  struct stat of_root;
  const bool right = fd >= 0 && ::fstat(fd, &of_fd) == 0 && ::stat(root.c_str(), &of_root) == 0 &&
                     of_fd.st_dev == of_root.st_dev && of_fd.st_ino == of_root.st_ino;
  return right ? UniqueFd(fd) : UniqueFd();
}

}  // namespace

Result<RootLock> RootLock::take(const std::string& root) {
  auto fd = inherited(root);
  if (!fd) {
    RUNNEL_TRY(fd, open_file(root, O_RDONLY | O_DIRECTORY));
  }
  if (::flock(fd.get(), LOCK_EX | LOCK_NB) != 0) {
    if (errno != EWOULDBLOCK) return fail_errno("lock {}", root);
    return fail(Code::kConflict, "{} is locked: another node process uses this root", root);
  }
  if (::fcntl(fd.get(), F_SETFD, 0) != 0) return fail_errno("keep the lock of {}", root);
  if (::setenv(kVariable, std::to_string(fd.get()).c_str(), 1) != 0) {
    return fail_errno("setenv {}", kVariable);
  }
  return RootLock(std::move(fd));
}

}  // namespace runnel::engine
