#include "remote/child_program.h"

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>

#include "base/bytes.h"
#include "base/child.h"
#include "base/clock.h"
#include "base/fd.h"

namespace runnel::remote {

namespace {

// The question as a file in memory: unlike a pipe it cannot block us or raise SIGPIPE.
Result<UniqueFd> input_of(std::string_view text) {
  UniqueFd fd(memfd_create("credential-helper-input", MFD_CLOEXEC));
  if (!fd) return fail_errno("memfd_create");
  RUNNEL_DO(write_all_at(fd.get(), as_bytes(text), 0));
  return fd;
}

// A list of C strings, as exec wants it; it borrows from `texts`.
std::vector<char*> pointers(std::vector<std::string>& texts) {
  std::vector<char*> out;
  out.reserve(texts.size() + 1);
  for (auto& text : texts) out.push_back(text.data());
  out.push_back(nullptr);
  return out;
}

// Ours, with what the call adds or replaces.
std::vector<std::string> environment_of(const ProgramCall& call) {
  std::vector<std::string> lines;
  for (char** line = environ; *line != nullptr; ++line) {
    const std::string_view text(*line);
    const auto name = text.substr(0, text.find('='));
    const bool replaced = std::ranges::any_of(
        call.environment, [&](const auto& added) { return added.first == name; });
    if (!replaced) lines.emplace_back(text);
  }
  for (const auto& [name, value] : call.environment)
    lines.push_back(fmt::format("{}={}", name, value));
  return lines;
}

Result<pid_t> spawn(const ProgramCall& call, int input, int output) {
  posix_spawn_file_actions_t actions;
  posix_spawnattr_t attributes;
  posix_spawn_file_actions_init(&actions);
  posix_spawnattr_init(&attributes);
  posix_spawn_file_actions_adddup2(&actions, input, 0);
  posix_spawn_file_actions_adddup2(&actions, output, 1);
  posix_spawn_file_actions_addopen(&actions, 2, "/dev/null", O_WRONLY, 0);
  sigset_t none;
  sigemptyset(&none);
  posix_spawnattr_setsigmask(&attributes, &none);
  // A service ignores it, and a program of somebody else expects to end by it.
  sigset_t defaults;
  sigemptyset(&defaults);
  sigaddset(&defaults, SIGPIPE);
  posix_spawnattr_setsigdefault(&attributes, &defaults);
  posix_spawnattr_setpgroup(&attributes, 0);
  posix_spawnattr_setflags(&attributes,
                           POSIX_SPAWN_SETPGROUP | POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETSIGDEF);

  std::vector<std::string> words = {call.program};
  words.insert(words.end(), call.arguments.begin(), call.arguments.end());
  std::vector<std::string> lines = environment_of(call);
  pid_t pid = 0;
  const int error = posix_spawnp(&pid, call.program.c_str(), &actions, &attributes,
                                 pointers(words).data(), pointers(lines).data());
  posix_spawn_file_actions_destroy(&actions);
  posix_spawnattr_destroy(&attributes);
  if (error != 0) return std::unexpected(system_error(error, "start " + call.program));
  return pid;
}

// Reads what is there without waiting. False at the end of the output.
Result<bool> drain(int fd, std::string& into, size_t limit) {
  std::array<char, 4096> piece;
  while (true) {
    const ssize_t count = read(fd, piece.data(), piece.size());
    if (count == 0) return false;
    if (count < 0 && errno == EINTR) continue;
    if (count < 0 && errno == EAGAIN) return true;
    if (count < 0) return fail_errno("read its output");
    into.append(piece.data(), static_cast<size_t>(count));
    if (into.size() > limit) return fail(Code::kInvalid, "it wrote more than {} bytes", limit);
  }
}

// Follows the child until it has ended. A grandchild that keeps the pipe open does not hold us up.
Result<ProgramOutcome> follow(Child& child, int output, const ProgramLimits& limits) {
  const UniqueFd ended(static_cast<int>(syscall(SYS_pidfd_open, child.pid(), 0)));
  if (!ended) return fail_errno("pidfd_open");
  const SteadyTime deadline = std::chrono::steady_clock::now() + limits.time;

  ProgramOutcome outcome;
  bool open = true;
  while (true) {
    const auto left =
        std::chrono::ceil<std::chrono::milliseconds>(deadline - std::chrono::steady_clock::now());
    if (left.count() <= 0)
      return fail(Code::kUnavailable, "it did not end within {} ms", limits.time.count());
    std::array<pollfd, 2> watched = {{{.fd = ended.get(), .events = POLLIN, .revents = 0},
                                      {.fd = open ? output : -1, .events = POLLIN, .revents = 0}}};
    const int ready = poll(watched.data(), watched.size(), static_cast<int>(left.count()));
    if (ready < 0 && errno != EINTR) return fail_errno("poll");
    if (ready <= 0) continue;
    if (open) {
      RUNNEL_TRY(open, drain(output, outcome.output, limits.output_bytes));
    }
    if (watched[0].revents != 0) break;
  }
  outcome.status = child.end();
  return outcome;
}

}  // namespace

Result<ProgramOutcome> run_program(const ProgramCall& call, const ProgramLimits& limits) {
  RUNNEL_TRY(UniqueFd input, input_of(call.question));
  std::array<int, 2> ends = {-1, -1};
  if (pipe2(ends.data(), O_CLOEXEC) != 0) return fail_errno("pipe");
  const UniqueFd from(ends[0]);
  UniqueFd to(ends[1]);
  if (fcntl(from.get(), F_SETFL, O_NONBLOCK) != 0) return fail_errno("fcntl");

  RUNNEL_TRY(const pid_t pid, spawn(call, input.get(), to.get()));
  // It leads a process group: what it left behind goes with it.
  Child child(pid, Child::Reach::kGroup);
  to.reset();
  return follow(child, from.get(), limits);
}

Result<void> check_ended_well(const ProgramOutcome& outcome) {
  if (WIFSIGNALED(outcome.status))
    return fail(Code::kUnavailable, "it was killed by signal {}", WTERMSIG(outcome.status));
  if (WEXITSTATUS(outcome.status) != 0)
    return fail(Code::kUnavailable, "it failed with exit code {}", WEXITSTATUS(outcome.status));
  return {};
}

}  // namespace runnel::remote
