#include "remote/credential_helper.h"

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
#include <boost/json.hpp>
#include <cctype>
#include <cerrno>

#include "base/bytes.h"
#include "base/clock.h"
#include "base/fd.h"

namespace runnel::remote {

namespace {

bool is_plain_word(std::string_view name) {
  return !name.empty() && name.size() <= 64 && name.front() != '-' && name.front() != '.' &&
         std::ranges::all_of(name, [](unsigned char c) {
           return std::isalnum(c) != 0 || c == '-' || c == '_' || c == '.';
         });
}

// The question as a file in memory: unlike a pipe it cannot block us or raise SIGPIPE.
Result<UniqueFd> input_of(std::string_view text) {
  UniqueFd fd(memfd_create("credential-helper-input", MFD_CLOEXEC));
  if (!fd) return fail_errno("memfd_create");
  RUNNEL_DO(write_all_at(fd.get(), as_bytes(text), 0));
  return fd;
}

// A child that is dead and reaped when this goes.
class Child {
 public:
  explicit Child(pid_t pid) : pid_(pid) {}
  Child(const Child&) = delete;
  Child& operator=(const Child&) = delete;
  ~Child() {
    if (pid_ > 0) reap();
  }

  // Ends it, if it has not ended, and what it left behind: it leads a process group of its own. The
  // status as waitpid gives it.
  int reap() {
    kill(-pid_, SIGKILL);
    int status = 0;
    while (waitpid(pid_, &status, 0) < 0 && errno == EINTR) {
    }
    pid_ = 0;
    return status;
  }

  pid_t pid() const { return pid_; }

 private:
  pid_t pid_;
};

Result<pid_t> spawn(const std::string& program, int input, int output) {
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
  posix_spawnattr_setpgroup(&attributes, 0);
  posix_spawnattr_setflags(&attributes, POSIX_SPAWN_SETPGROUP | POSIX_SPAWN_SETSIGMASK);

  std::string name = program;
  std::string verb = "get";
  std::array<char*, 3> arguments = {name.data(), verb.data(), nullptr};
  pid_t pid = 0;
  const int error =
      posix_spawnp(&pid, name.c_str(), &actions, &attributes, arguments.data(), environ);
  posix_spawn_file_actions_destroy(&actions);
  posix_spawnattr_destroy(&attributes);
  if (error != 0) return std::unexpected(system_error(error, "start " + program));
  return pid;
}

struct Outcome {
  int status = 0;
  std::string output;
};

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
Result<Outcome> follow(Child& child, int output, const HelperLimits& limits) {
  const UniqueFd ended(static_cast<int>(syscall(SYS_pidfd_open, child.pid(), 0)));
  if (!ended) return fail_errno("pidfd_open");
  const SteadyTime deadline = std::chrono::steady_clock::now() + limits.time;

  Outcome outcome;
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
  outcome.status = child.reap();
  return outcome;
}

Result<Outcome> run(const std::string& program, std::string_view question,
                    const HelperLimits& limits) {
  RUNNEL_TRY(UniqueFd input, input_of(question));
  std::array<int, 2> ends = {-1, -1};
  if (pipe2(ends.data(), O_CLOEXEC) != 0) return fail_errno("pipe");
  const UniqueFd from(ends[0]);
  UniqueFd to(ends[1]);
  if (fcntl(from.get(), F_SETFL, O_NONBLOCK) != 0) return fail_errno("fcntl");

  RUNNEL_TRY(const pid_t pid, spawn(program, input.get(), to.get()));
  Child child(pid);
  to.reset();
  return follow(child, from.get(), limits);
}

std::string text_of(const boost::json::object& object, std::string_view key) {
  const auto* value = object.if_contains(key);
  return value != nullptr && value->is_string() ? std::string(value->as_string()) : std::string();
}

Result<std::optional<Credential>> parse_answer(std::string_view output) {
  boost::system::error_code broken;
  const auto value = boost::json::parse(output, broken);
  if (broken || !value.is_object()) return fail(Code::kInvalid, "its answer is not a JSON object");

  Credential credential;
  credential.user = text_of(value.as_object(), "Username");
  credential.secret = Secret(text_of(value.as_object(), "Secret"));
  if (credential.secret.empty()) return std::nullopt;
  if (credential.user == "<token>") {
    credential.kind = Credential::Kind::kIdentityToken;
    credential.user.clear();
  }
  return credential;
}

Result<std::optional<Credential>> interpret(const Outcome& outcome) {
  if (WIFSIGNALED(outcome.status))
    return fail(Code::kUnavailable, "it was killed by signal {}", WTERMSIG(outcome.status));
  const int exit_code = WEXITSTATUS(outcome.status);
  if (exit_code != 0) {
    if (outcome.output.find("credentials not found") != std::string::npos) return std::nullopt;
    return fail(Code::kUnavailable, "it failed with exit code {}", exit_code);
  }
  return parse_answer(outcome.output);
}

}  // namespace

Result<std::optional<Credential>> ask_credential_helper(std::string_view name,
                                                        std::string_view server,
                                                        const HelperLimits& limits) {
  if (!is_plain_word(name))
    return fail(Code::kInvalid, "credential helper \"{}\" is not a plain word", name.substr(0, 64));
  const std::string program = "docker-credential-" + std::string(name);

  auto outcome = run(program, server, limits);
  if (!outcome) return std::unexpected(outcome.error().in(program));
  auto credential = interpret(*outcome);
  if (!credential) return std::unexpected(credential.error().in(program));
  return credential;
}

}  // namespace runnel::remote
