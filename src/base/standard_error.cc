#include "base/standard_error.h"

#include <fcntl.h>
#include <poll.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <climits>

#include "base/fd.h"

namespace runnel {

namespace {

// What `call` took, 0 when nothing.
template <class Call>
size_t taken_by(Call call) {
  for (;;) {
    const ssize_t count = call();
    if (count >= 0) return static_cast<size_t>(count);
    if (errno != EINTR) return 0;
  }
}

size_t write_to(int fd, std::string_view bytes) {
  return taken_by([&] { return ::write(fd, bytes.data(), bytes.size()); });
}

// Where there is room, a pipe has it for so much.
size_t write_if_ready(std::string_view bytes) {
  pollfd state{.fd = STDERR_FILENO, .events = POLLOUT, .revents = 0};
  if (::poll(&state, 1, 0) != 1 || (state.revents & POLLOUT) == 0) return 0;
  return write_to(STDERR_FILENO, bytes.substr(0, PIPE_BUF));
}

// One system call for all that fits, so that lines of two processes do not mix.
size_t write_at_once(std::string_view bytes) {
  struct stat info;
  if (::fstat(STDERR_FILENO, &info) != 0) return 0;
  if (S_ISREG(info.st_mode)) return write_to(STDERR_FILENO, bytes);
  if (S_ISSOCK(info.st_mode)) {
    return taken_by([&] {
      return ::send(STDERR_FILENO, bytes.data(), bytes.size(), MSG_DONTWAIT | MSG_NOSIGNAL);
    });
  }
  const UniqueFd own(::open("/proc/self/fd/2", O_WRONLY | O_NONBLOCK | O_NOCTTY | O_CLOEXEC));
  return own ? write_to(own.get(), bytes) : write_if_ready(bytes);
}

size_t write_what_fits(std::string_view bytes) {
  size_t done = 0;
  while (done < bytes.size()) {
    const size_t taken = write_at_once(bytes.substr(done));
    if (taken == 0) break;
    done += taken;
  }
  return done;
}

}  // namespace

bool StandardError::write(std::string_view line) {
  rest_.erase(0, write_what_fits(rest_));
  if (!rest_.empty()) return false;
  const size_t taken = write_what_fits(line);
  if (taken == 0) return false;
  rest_ = line.substr(taken);
  return true;
}

}  // namespace runnel
