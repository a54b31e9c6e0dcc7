#include "snapshot/private_socket.h"

#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include <cstdlib>
#include <cstring>
#include <filesystem>

#include "base/durable.h"
#include "base/fd.h"

namespace runnel::snapshot {

namespace {

constexpr size_t kMaxAddress = sizeof(sockaddr_un::sun_path) - 1;

// Whether the path is free, or is taken by a socket that nobody listens on.
Result<void> check_free(const std::string& path) {
  struct stat info;
  if (::lstat(path.c_str(), &info) != 0) {
    return errno == ENOENT ? Result<void>() : fail_errno("stat {}", path);
  }
  if (!S_ISSOCK(info.st_mode)) {
    return fail(Code::kConflict, "{} is no socket: remove it or choose another path", path);
  }
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  path.copy(address.sun_path, kMaxAddress);
  const UniqueFd fd(::socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0));
  if (!fd) return fail_errno("socket");
  const bool connected =
      ::connect(fd.get(), reinterpret_cast<const sockaddr*>(&address), sizeof address) == 0;
  // A full backlog (EAGAIN) has a listener too.
  if (connected || errno == EAGAIN || errno == EINPROGRESS) {
    return fail(Code::kConflict, "{}: another process serves this socket", path);
  }
  return {};
}

}  // namespace

Result<void> PrivateSocket::publish(const std::string& path,
                                    const std::function<Result<void>(const std::string&)>& bind) {
  const auto parent = std::filesystem::path(path).parent_path().string();
  const auto directory = parent.empty() ? std::string(".") : parent;
  auto hidden = directory + "/.XXXXXX";
  if (path.size() > kMaxAddress || hidden.size() + 2 > kMaxAddress) {
    return fail(Code::kInvalid, "{} is too long for a unix socket: {} bytes at most", path,
                kMaxAddress - 10);
  }
  RUNNEL_DO(check_free(path));
  RUNNEL_DO(make_directories(directory));
  if (::mkdtemp(hidden.data()) == nullptr) return fail_errno("mkdtemp {}", hidden);
  const auto made = hidden + "/s";
  const auto outcome = [&]() -> Result<void> {
    RUNNEL_DO(bind(made));
    struct stat info;
    if (::chmod(made.c_str(), 0600) != 0) return fail_errno("chmod {}", made);
    if (::lstat(made.c_str(), &info) != 0) return fail_errno("stat {}", made);
    if (::rename(made.c_str(), path.c_str()) != 0) return fail_errno("rename to {}", path);
    path_ = path;
    device_ = info.st_dev;
    inode_ = info.st_ino;
    return {};
  }();
  if (!outcome) ::unlink(made.c_str());
  ::rmdir(hidden.c_str());
  return outcome;
}

void PrivateSocket::remove() {
  struct stat info;
  if (path_.empty() || ::lstat(path_.c_str(), &info) != 0) return;
  if (info.st_dev == device_ && info.st_ino == inode_) ::unlink(path_.c_str());
  path_.clear();
}

}  // namespace runnel::snapshot
