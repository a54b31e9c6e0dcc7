#include "standard_output.h"

#include <poll.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <string>
#include <system_error>

#include "cli/report.h"

namespace runnel {

namespace {

// Asked of the descriptor, because stdio forgets what a write failed of before the last flush.
bool reader_is_gone() {
  pollfd output{.fd = STDOUT_FILENO, .events = POLLOUT, .revents = 0};
  return ::poll(&output, 1, 0) == 1 && (output.revents & (POLLERR | POLLHUP)) != 0;
}

// Empty when all of it was written.
std::string flush() {
  if (std::fflush(stdout) != 0) return std::generic_category().message(errno);
  return std::ferror(stdout) != 0 ? "not all of it could be written" : "";
}

int exit_code(int code, const std::string& problem) {
  if (problem.empty() || reader_is_gone()) return code;
  const int failed = cli::report(Error(Code::kUnavailable, "standard output: " + problem));
  return code == 0 ? failed : code;
}

}  // namespace

int with_output_checked(const std::function<int()>& command) {
  try {
    const int code = command();
    return exit_code(code, flush());
  } catch (const std::system_error& problem) {
    // fmt::print throws when the buffer is full and cannot be written.
    if (std::ferror(stdout) == 0) throw;
    return exit_code(1, problem.code().message());
  }
}

}  // namespace runnel
