#include "engine/side_process.h"

#include <fcntl.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include <atomic>
#include <cerrno>
#include <memory>
#include <mutex>
#include <system_error>
#include <thread>
#include <utility>

#include "base/fd.h"

namespace runnel::engine {

namespace {

constexpr size_t kStackBytes = 256 * 1024;
constexpr size_t kGuardBytes = 64 * 1024;

// A stack that ends the process that outgrows it.
class Stack {
 public:
  static Result<Stack> make() {
    void* at = ::mmap(nullptr, kGuardBytes + kStackBytes, PROT_NONE,
                      MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | MAP_STACK, -1, 0);
    if (at == MAP_FAILED) return fail_errno("mmap a stack");
    Stack stack(static_cast<std::byte*>(at));
    if (::mprotect(stack.at_ + kGuardBytes, kStackBytes, PROT_READ | PROT_WRITE) != 0) {
      return fail_errno("mprotect a stack");
    }
    return stack;
  }
  Stack(Stack&& other) noexcept : at_(std::exchange(other.at_, nullptr)) {}
  Stack& operator=(Stack&&) = delete;
  ~Stack() {
    if (at_ != nullptr) ::munmap(at_, kGuardBytes + kStackBytes);
  }

  void* top() const { return at_ + kGuardBytes + kStackBytes; }

 private:
  explicit Stack(std::byte* at) : at_(at) {}

  std::byte* at_;
};

// Of the process, its parent thread and whoever waits: gone with the last of them.
struct Job {
  std::function<int()> calls;
  Stack stack;
  UniqueFd done;  // the writing end: a byte when `answer` is there; closed when the process is gone
  std::atomic<int> answer{0};
  std::atomic<int> refused{0};        // errno, when there is no process
  std::atomic<bool> given_up{false};  // nobody waits, so it need not begin
  std::mutex reaping;
  std::atomic<pid_t> process{0};  // the process writes it, and the lock keeps it from being reaped
};

void close_all_but(int fd) {
  if (fd > STDERR_FILENO + 1) {
    ::close_range(STDERR_FILENO + 1, static_cast<unsigned>(fd) - 1, 0);
  }
  ::close_range(static_cast<unsigned>(fd) + 1, ~0U, 0);
}

// It never returns, and AddressSanitizer does not know its stack.
[[clang::no_sanitize("address")]] int run_calls(void* argument) {
  auto& job = *static_cast<Job*>(argument);
  job.process = ::getpid();
  if (job.given_up) ::_exit(0);
  close_all_but(job.done.get());
  job.answer = job.calls();
  (void)!::write(job.done.get(), "", 1);
  ::_exit(0);
}

// Ends with the process. This thread is suspended while it runs, so that its thread-local memory
// (errno) is the process's alone; a fatal signal to our own process ends the wait.
void start_and_reap(const std::shared_ptr<Job>& job) {
  sigset_t all;
  sigfillset(&all);
  ::pthread_sigmask(SIG_SETMASK, &all, nullptr);  // no handler of ours runs in the process
  const pid_t process =
      ::clone(run_calls, job->stack.top(), CLONE_VM | CLONE_VFORK | SIGCHLD, job.get());
  if (process < 0) job->refused = errno;
  job->done.reset();
  if (process < 0) return;
  const std::lock_guard lock(job->reaping);
  job->process = 0;
  ::waitpid(process, nullptr, 0);
}

// Or keeps it from beginning.
void kill_process(Job& job) {
  job.given_up = true;
  const std::lock_guard lock(job.reaping);
  if (const pid_t process = job.process) ::kill(process, SIGKILL);
}

// Whether the byte came in time; nothing when the process is gone without it.
Result<bool> wait_for(const UniqueFd& done, Duration timeout) {
  const SystemClock clock;
  const auto deadline = clock.now() + timeout;
  for (;;) {
    const auto left = std::chrono::ceil<std::chrono::milliseconds>(deadline - clock.now()).count();
    if (left <= 0) return false;
    pollfd waiting{.fd = done.get(), .events = POLLIN, .revents = 0};
    if (::poll(&waiting, 1, static_cast<int>(left)) <= 0) continue;
    char byte;
    if (::read(done.get(), &byte, 1) == 1) return true;
    return fail(Code::kUnavailable, "its process died");
  }
}

}  // namespace

Result<int> run_beside(const std::string& what, Duration timeout, std::function<int()> calls) {
  int ends[2];
  if (::pipe2(ends, O_CLOEXEC) != 0) return fail_errno("pipe");
  const UniqueFd read_end(ends[0]);
  UniqueFd write_end(ends[1]);
  RUNNEL_TRY(auto stack, Stack::make());
  const auto job = std::make_shared<Job>(std::move(calls), std::move(stack), std::move(write_end));
  std::thread parent;
  try {
    parent = std::thread([job] { start_and_reap(job); });
  } catch (const std::system_error& error) {
    return fail(Code::kExhausted, "{}: no thread: {}", what, error.what());
  }
  const auto done = wait_for(read_end, timeout);
  if (done && !*done) {
    kill_process(*job);
    parent.detach();  // it may take its time to die
    const auto limit = std::chrono::duration_cast<std::chrono::milliseconds>(timeout).count();
    return fail(Code::kUnavailable, "{}: not done within {} ms", what, limit);
  }
  parent.join();
  if (job->refused != 0) {
    return std::unexpected(system_error(job->refused, fmt::format("{}: clone", what)));
  }
  if (!done) return fail(Code::kUnavailable, "{}: {}", what, done.error().message);
  return job->answer.load();
}

}  // namespace runnel::engine
