#include "install/command.h"

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <chrono>

#include "base/fd.h"

namespace runnel::install {

namespace {

constexpr size_t kMaxOutput = 8 << 20;
constexpr size_t kToldOfErrors = 2000;

struct Pipe {
  UniqueFd read;
  UniqueFd write;
};

Result<Pipe> make_pipe() {
  int ends[2];
  if (::pipe2(ends, O_CLOEXEC) != 0) return fail_errno("pipe");
  return Pipe{UniqueFd(ends[0]), UniqueFd(ends[1])};
}

[[noreturn]] void become(const std::vector<std::string>& argv, int output, int errors) {
  std::vector<char*> arguments;
  arguments.reserve(argv.size() + 1);
  for (const auto& each : argv) arguments.push_back(const_cast<char*>(each.c_str()));
  arguments.push_back(nullptr);
  ::setpgid(0, 0);
  const int null = ::open("/dev/null", O_RDONLY);
  if (null < 0) ::_exit(127);  // it must not read from our terminal
  ::dup2(null, 0);
  ::dup2(output, 1);
  ::dup2(errors, 2);
  sigset_t none;
  sigemptyset(&none);
  ::sigprocmask(SIG_SETMASK, &none, nullptr);
  ::execvp(arguments[0], arguments.data());
  ::_exit(127);
}

// Reads both until the child has ended and nothing more is there: a daemon that it started may keep
// them open, and a child that has closed them may go on. False when the time is over or it is too
// much.
bool read_both(int output, int errors, int child, std::string& out, std::string& err,
               SteadyTime deadline) {
  pollfd fds[3] = {{output, POLLIN, 0}, {errors, POLLIN, 0}, {child, POLLIN, 0}};
  std::string* const into[2] = {&out, &err};
  while (fds[0].fd >= 0 || fds[1].fd >= 0 || fds[2].fd >= 0) {
    const auto left = std::chrono::duration_cast<std::chrono::milliseconds>(
        deadline - std::chrono::steady_clock::now());
    if (left.count() <= 0 || out.size() + err.size() > kMaxOutput) return false;
    if (::poll(fds, 3, static_cast<int>(left.count())) < 0 && errno != EINTR) return false;
    if (fds[2].revents != 0 && fds[0].revents == 0 && fds[1].revents == 0) return true;
    for (int i = 0; i < 2; ++i) {
      if (fds[i].fd < 0 || fds[i].revents == 0) continue;
      char buffer[16384];
      const auto got = ::read(fds[i].fd, buffer, sizeof buffer);
      if (got > 0) into[i]->append(buffer, static_cast<size_t>(got));
      if (got == 0 || (got < 0 && errno != EINTR)) fds[i].fd = -1;
    }
  }
  return true;
}

std::string tail(const std::string& text) {
  auto end = text.find_last_not_of(" \n");
  end = end == std::string::npos ? 0 : end + 1;
  const size_t begin = end > kToldOfErrors ? end - kToldOfErrors : 0;
  return text.substr(begin, end - begin);
}

}  // namespace

Result<std::string> run_command(const std::vector<std::string>& argv, Duration timeout) {
  const auto deadline = std::chrono::steady_clock::now() + timeout;
  RUNNEL_TRY(auto output, make_pipe());
  RUNNEL_TRY(auto errors, make_pipe());
  const pid_t child = ::fork();
  if (child < 0) return fail_errno("fork");
  if (child == 0) become(argv, output.write.get(), errors.write.get());
  output.write.reset();
  errors.write.reset();
  const UniqueFd exited(static_cast<int>(::syscall(SYS_pidfd_open, child, 0)));

  std::string out;
  std::string err;
  const bool ended =
      read_both(output.read.get(), errors.read.get(), exited.get(), out, err, deadline);
  if (!ended) ::kill(-child, SIGKILL);
  int status = 0;
  while (::waitpid(child, &status, 0) < 0 && errno == EINTR) {
  }
  if (!ended) return fail(Code::kUnavailable, "{} was not done in time", fmt::join(argv, " "));
  if (WIFEXITED(status) && WEXITSTATUS(status) == 0) return out;
  if (WIFEXITED(status) && WEXITSTATUS(status) == 127 && err.empty()) {
    return fail(Code::kUnavailable, "{} cannot be started: is it installed?", argv[0]);
  }
  return fail(Code::kUnavailable, "{}: {}", fmt::join(argv, " "),
              err.empty() ? fmt::format("ended with status {}", status) : tail(err));
}

Result<std::string> run_shell(const std::string& line, Duration timeout) {
  return run_command({"/bin/sh", "-c", line}, timeout);
}

}  // namespace runnel::install
