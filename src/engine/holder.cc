#include "engine/holder.h"

#include <fcntl.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <charconv>
#include <cstdlib>
#include <ctime>
#include <utility>
#include <vector>

#include "base/durable.h"
#include "base/log.h"
#include "engine/fuse_mount.h"
#include "engine/mounter.h"
#include "engine/pulse.h"

namespace runnel::engine {

namespace {

constexpr const char* kFdVariable = "RUNNEL_FUSE_FD";
constexpr int kStopSeconds = 30;
// A worker that was killed after so long had started well; one that gave up by itself before
// kStartMs had not, on a slow machine too.
constexpr int64_t kSettledMs = 200;
constexpr int64_t kStartMs = 5000;
constexpr int kFreeRestarts = 3;  // in a row and at once, of workers that did not start well
constexpr int kLongestPauseSeconds = 10;

int64_t milliseconds_now() {
  timespec now{};
  ::clock_gettime(CLOCK_MONOTONIC, &now);
  return now.tv_sec * 1000 + now.tv_nsec / 1'000'000;
}

// Best effort: an unprivileged or confined holder works as well, only less protected.
void protect_from_death() {
  ::mlockall(MCL_CURRENT | MCL_FUTURE);
  const int fd = ::open("/proc/self/oom_score_adj", O_WRONLY | O_CLOEXEC);
  if (fd < 0) return;
  (void)!::write(fd, "-1000", 5);
  ::close(fd);
}

void restore_oom_score() {
  const int fd = ::open("/proc/self/oom_score_adj", O_WRONLY | O_CLOEXEC);
  if (fd < 0) return;
  (void)!::write(fd, "0", 1);
  ::close(fd);
}

pid_t start_worker(char* const* argv, pid_t holder, const sigset_t& inherited) {
  const pid_t child = ::fork();
  if (child != 0) return child;
  ::prctl(PR_SET_PDEATHSIG, SIGKILL);
  if (::getppid() != holder) ::_exit(1);
  ::sigprocmask(SIG_SETMASK, &inherited, nullptr);
  restore_oom_score();
  ::execv(argv[0], argv);
  ::_exit(127);
}

// The stale mount of a holder that died: its connection is gone, nothing can be read from it.
void clear_stale_mount(const std::string& directory) {
  const auto mounts = mounts_below(directory);
  if (!mounts) return;
  for (const auto& mount : *mounts) {
    if (mount.target == directory) ::umount2(directory.c_str(), MNT_DETACH);
  }
}

// After the worker has ended: image mounts that nobody uses go, so that the devices below them can
// go too; they are made again when a container asks. One in use stays, and its readers get EIO.
void unmount_unused(const std::string& directory) {
  const auto mounts = mounts_below(directory);
  if (!mounts) return;
  for (auto mount = mounts->rbegin(); mount != mounts->rend(); ++mount) {
    ::umount2(mount->target.c_str(), UMOUNT_NOFOLLOW);
  }
}

// Waits for one of `signals`; -1 when `milliseconds` passed first.
int wait_for_signal(const sigset_t& signals, int milliseconds) {
  const timespec limit{.tv_sec = milliseconds / 1000, .tv_nsec = milliseconds % 1000 * 1'000'000L};
  for (;;) {
    const int got = ::sigtimedwait(&signals, nullptr, &limit);
    if (got >= 0 || errno == EAGAIN) return got;
  }
}

// What became of the worker: its exit code, or 128 and the signal; -1 while it runs.
int reap(pid_t worker) {
  int status = 0;
  if (::waitpid(worker, &status, WNOHANG) != worker) return -1;
  return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}

class Holder {
 public:
  Holder(const HolderOptions& options, const sigset_t& signals, const sigset_t& inherited, int fuse,
         const Pulse& pulse)
      : options_(options),
        signals_(signals),
        inherited_(inherited),
        fuse_(fuse),
        pulse_(pulse),
        watch_(static_cast<uint32_t>(options.read_timeout_s)) {
    for (const auto& argument : options_.worker) {
      argv_.push_back(const_cast<char*>(argument.c_str()));
    }
    argv_.push_back(nullptr);
  }

  int run() {
    const pid_t self = ::getpid();
    bool ever_settled = false;
    for (int quick_deaths = 0;;) {
      const auto started = milliseconds_now();
      const pid_t worker = start_worker(argv_.data(), self, inherited_);
      if (worker < 0) return 1;
      watch_.worker_started();
      const int code = watch(worker);
      if (stopping_) return 0;
      if (code == 0 || code == 2) return code;
      const bool settled = milliseconds_now() - started >= (code < 128 ? kStartMs : kSettledMs);
      if (!ever_settled && !settled && code < 128) return code;  // it cannot start at all
      ever_settled = true;
      quick_deaths = settled ? 0 : quick_deaths + 1;
      const int pause = pause_after(quick_deaths);
      log::warning("the worker ended ({}); starting another in {} s", code, pause);
      if (pause > 0 && wait_or_stop(pause)) return 0;
    }
  }

 private:
  // Hands signals on until the worker has ended.
  int watch(pid_t worker) {
    for (;;) {
      const int signal = wait_for_signal(signals_, stopping_ ? kStopSeconds * 1000 : tick_ms());
      if (signal < 0 && stopping_) ::kill(worker, SIGKILL);
      if (signal < 0 && !stopping_) look_after(worker);
      if (signal == SIGTERM || signal == SIGINT) {
        stopping_ = true;
        ::kill(worker, SIGTERM);
      }
      if (const int code = reap(worker); code >= 0) return code;
    }
  }

  // The kernel repeats what was refused page by page, and a reader waits for all of them.
  int tick_ms() const { return refusing_ ? 20 : 1000; }

  // At every tick. `worker` is 0 when none runs.
  void look_after(pid_t worker) {
    switch (watch_.tick(pulse_.beats())) {
      case Watch::Verdict::kFine: refusing_ = false; break;
      case Watch::Verdict::kKill:
        log::error("the worker has given no sign of life for {} s; killing it",
                   options_.read_timeout_s);
        if (worker > 0) ::kill(worker, SIGKILL);
        break;
      case Watch::Verdict::kRefuse:
        if (!std::exchange(refusing_, true)) {
          log::error("no worker has served for {} s; reads fail until one does",
                     options_.read_timeout_s);
        }
        refuse_requests(fuse_);
        break;
    }
  }

  static int pause_after(int quick_deaths) {
    int pause = 0;
    for (int i = kFreeRestarts; i < quick_deaths && pause < kLongestPauseSeconds; ++i) {
      pause = pause == 0 ? 1 : pause * 2;
    }
    return std::min(pause, kLongestPauseSeconds);
  }

  bool wait_or_stop(int seconds) {
    const auto until = milliseconds_now() + seconds * 1000;
    while (milliseconds_now() < until) {
      const int signal = wait_for_signal(signals_, tick_ms());
      if (signal == SIGTERM || signal == SIGINT) return true;
      if (signal < 0) look_after(0);
    }
    return false;
  }

  const HolderOptions& options_;
  const sigset_t signals_;
  const sigset_t inherited_;
  const int fuse_;
  const Pulse& pulse_;
  Watch watch_;
  std::vector<char*> argv_;
  bool stopping_ = false;
  bool refusing_ = false;
};

Result<int> hold(const HolderOptions& options) {
  sigset_t signals;
  sigset_t inherited;
  sigemptyset(&signals);
  for (const int signal : {SIGCHLD, SIGTERM, SIGINT}) sigaddset(&signals, signal);
  ::sigprocmask(SIG_BLOCK, &signals, &inherited);

  const auto devices = options.root + "/devices";
  RUNNEL_DO(make_directories(options.root, 0711));
  clear_stale_mount(devices);
  RUNNEL_DO(make_directories(devices, 0700));
  RUNNEL_TRY(auto fuse, open_fuse_mount(devices));
  if (::fcntl(fuse.get(), F_SETFD, 0) != 0) return fail_errno("keep the FUSE descriptor");
  if (::setenv(kFdVariable, std::to_string(fuse.get()).c_str(), 1) != 0)
    return fail_errno("setenv");
  RUNNEL_TRY(const auto pulse, Pulse::create());
  protect_from_death();
  const int code = Holder(options, signals, inherited, fuse.get(), pulse).run();
  // Whoever still uses it gets EIO from now on; an unused mount goes.
  unmount_unused(options.root + "/mounts");
  ::umount2(devices.c_str(), 0);
  return code;
}

}  // namespace

int run_holder(const HolderOptions& options) {
  const auto code = hold(options);
  if (code) return *code;
  log::error("{}", code.error().message);
  return 1;
}

Result<UniqueFd> inherited_fuse_fd() {
  const char* text = std::getenv(kFdVariable);
  if (text == nullptr) {
    return fail(Code::kNotFound,
                "no holder gave this process its FUSE connection: start it as "
                "\"runnel node\", without --worker");
  }
  int fd = -1;
  const std::string_view view(text);
  const auto [end, error] = std::from_chars(view.data(), view.data() + view.size(), fd);
  if (error != std::errc() || fd < 0 || ::fcntl(fd, F_SETFD, FD_CLOEXEC) != 0) {
    return fail(Code::kInvalid, "{}=\"{}\" is no descriptor", kFdVariable, text);
  }
  return UniqueFd(fd);
}

}  // namespace runnel::engine
