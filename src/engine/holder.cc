#include "engine/holder.h"

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdio>
#include <cstdlib>
#include <ctime>
#include <optional>
#include <utility>
#include <vector>

#include "base/durable.h"
#include "base/log.h"
#include "engine/fuse_mount.h"
#include "engine/mounter.h"
#include "engine/pulse.h"
#include "engine/request_slots.h"
#include "engine/restarts.h"
#include "engine/root_lock.h"
#include "engine/watch.h"

namespace runnel::engine {

namespace {

constexpr const char* kFuse = "fuse";
constexpr const char* kRequests = "requests";
constexpr const char* kRestartsVariable = "RUNNEL_WORKER_RESTARTS";
constexpr int kSignals[] = {SIGCHLD, SIGTERM, SIGINT, SIGHUP};
constexpr int kTickMs = 1000;
constexpr int kRefusalsPerTick = 50;
constexpr int64_t kStopMs = 30'000;
// What was killed is gone by then, unless the kernel keeps it: for a disk that hangs, or in the
// freezer of cgroup v1. Nobody waits longer for its end.
constexpr int64_t kDeathMs = 10'000;
constexpr int64_t kCheckMs = 10'000;

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

// What execv takes; `arguments` must outlive it.
std::vector<char*> pointers_to(const std::vector<std::string>& arguments) {
  std::vector<char*> pointers;
  pointers.reserve(arguments.size() + 1);
  for (const auto& argument : arguments) pointers.push_back(const_cast<char*>(argument.c_str()));
  pointers.push_back(nullptr);
  return pointers;
}

sigset_t signals_of_holder() {
  sigset_t signals;
  sigemptyset(&signals);
  for (const int signal : kSignals) sigaddset(&signals, signal);
  return signals;
}

// What a program finds blocked that was started as the holder was. The holder's own signals are not
// among it, though a holder that an earlier one has become finds them blocked.
sigset_t mask_of_children() {
  sigset_t mask;
  ::sigprocmask(SIG_BLOCK, nullptr, &mask);
  for (const int signal : kSignals) sigdelset(&mask, signal);
  return mask;
}

bool is_stop_pending() {
  sigset_t pending;
  return ::sigpending(&pending) == 0 &&
         (sigismember(&pending, SIGTERM) == 1 || sigismember(&pending, SIGINT) == 1);
}

// Whether the connection still has its mount.
bool is_connected(int fuse) {
  pollfd state{.fd = fuse, .events = 0, .revents = 0};
  return ::poll(&state, 1, 0) >= 0 && (state.revents & POLLERR) == 0;
}

// In place: the loop of the holder allocates nothing.
void set_restarts(unsigned restarts) {
  static char variable[48];
  (void)std::snprintf(variable, sizeof variable, "%s=%u", kRestartsVariable, restarts);
  ::putenv(variable);
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
  // The holder's signals are blocked.
  Holder(const HolderOptions& options, const Handover& handover, const Pulse& pulse,
         const RootLock& lock, bool has_readers)
      : restarts_(has_readers),
        read_timeout_s_(options.read_timeout_s),
        fuse_(handover.get(kFuse)),
        requests_(handover.get(kRequests)),
        pulse_(pulse),
        watch_(static_cast<uint32_t>(options.read_timeout_s), pulse.signs()),
        lock_(lock),
        worker_(pointers_to(options.worker)),
        check_(pointers_to(options.check)),
        reload_(pointers_to(options.reload)) {}

  int run() {
    for (;;) {
      const auto started = milliseconds_now();
      const int code = run_worker();
      if (stopping_) return 0;
      if (reloading_) {
        exec_new_version();  // returns when it failed, or when it is to stop instead
        continue;
      }
      const auto pause = restarts_.after(code, milliseconds_now() - started);
      if (!pause) return code;
      log::warning("the worker ended ({}); starting another in {} ms", code, *pause);
      if (*pause > 0 && wait_or_stop(*pause)) return 0;
    }
  }

 private:
  // What became of it, as reap() says it. Where there is no process to be had it is as if it had
  // failed at once: what keeps one from us may have killed the last one, and passes.
  int run_worker() {
    set_restarts(earlier_workers_);
    const pid_t worker = start_child(worker_.data());
    if (worker < 0) {
      log::error("{}", system_error(errno, "no process for a worker").message);
      return EXIT_FAILURE;
    }
    ++earlier_workers_;
    watch_.worker_started();
    kill_at_.reset();
    return watch(worker);
  }

  pid_t start_child(char* const* argv) const {
    const pid_t self = ::getpid();
    const pid_t child = ::fork();
    if (child != 0) return child;
    ::prctl(PR_SET_PDEATHSIG, SIGKILL);
    if (::getppid() != self) ::_exit(1);
    lock_.close_in_child();
    ::sigprocmask(SIG_SETMASK, &mask_of_children_, nullptr);
    restore_oom_score();
    ::execv(argv[0], argv);
    ::_exit(127);
  }

  // Hands signals on until the worker has ended; readers are looked after meanwhile, also while it
  // ends. For a new version one that cannot be killed is waited for, or two would serve one
  // connection; a stop ends the connection, and goes on without it.
  int watch(pid_t worker) {
    for (;;) {
      const int signal = wait_for_signal(signals_, tick_ms());
      if (signal < 0) look_after(worker);
      if (signal == SIGTERM || signal == SIGINT) stopping_ = true;
      if (signal == SIGHUP && !stopping_ && !reloading_) reloading_ = may_reload(worker);
      if (signal != SIGCHLD && signal > 0 && (stopping_ || reloading_)) tell_to_end(worker);
      if (const int code = reap(worker); code >= 0) return code;
      const int64_t late = kill_at_ ? milliseconds_now() - *kill_at_ : -1;
      if (late >= 0) ::kill(worker, SIGKILL);
      if (stopping_ && late >= kDeathMs) {
        log::error("worker {} cannot be killed; stopping without its end", worker);
        return 128 + SIGKILL;
      }
    }
  }

  // Its time counts from the first time.
  void tell_to_end(pid_t worker) {
    ::kill(worker, SIGTERM);
    if (kill_at_) return;
    kill_at_ = milliseconds_now() + kStopMs;
    watch_.worker_ends();
  }

  // The kernel repeats what was refused page by page, and a reader waits for all of them.
  int tick_ms() const { return refusing_ ? kTickMs / kRefusalsPerTick : kTickMs; }

  // At every tick. `worker` is 0 when none runs.
  void look_after(pid_t worker) {
    const bool between = refusing_ && ++refusals_ % kRefusalsPerTick != 0;
    switch (between && pulse_.signs().beats == beats_ ? Watch::Verdict::kRefuse : tick()) {
      case Watch::Verdict::kFine: refusing_ = false; break;
      case Watch::Verdict::kKill: kill_silent(worker); break;
      case Watch::Verdict::kRefuse:
        if (!std::exchange(refusing_, true)) {
          log::error("no worker has served for {} s; reads fail until one does", read_timeout_s_);
        }
        refuse_requests(fuse_);
        RequestSlots::refuse_held(requests_, fuse_);
        break;
    }
  }

  Watch::Verdict tick() {
    const auto signs = pulse_.signs();
    beats_ = signs.beats;
    return watch_.tick(signs);
  }

  static void kill_silent(pid_t worker) {
    if (worker <= 0) return;
    ::kill(worker, SIGKILL);
    log::error("worker {} stood still, or had not begun to serve in time: killed", worker);
  }

  // Asks the program that would replace this one. Its own trouble must not become ours.
  bool may_reload(pid_t worker) {
    if (reload_[0] == nullptr) return false;
    if (stuck_check_ > 0 && reap(stuck_check_) < 0) {
      log::error("no reload: process {}, which was asked the last time, has not ended yet",
                 stuck_check_);
      return false;
    }
    stuck_check_ = 0;
    const pid_t check = start_child(check_.data());
    if (check < 0) return false;
    const int code = end_of_check(check, worker);
    if (code < 0) {
      stuck_check_ = check;
      log::error("no reload: the new version, process {}, does not answer and cannot be killed",
                 check);
    } else if (code != 0) {
      log::error("no reload: the new version refuses its configuration ({})", code);
    }
    return code == 0;
  }

  // Its exit code; -1 when it cannot be killed. The worker's readers are looked after meanwhile.
  int end_of_check(pid_t check, pid_t worker) {
    const auto kill_at = milliseconds_now() + kCheckMs;
    auto next_tick = milliseconds_now() + tick_ms();
    for (;;) {
      // Not the set of all signals: a worker's end, or the wish to stop, is for watch() to see.
      const timespec pause{.tv_sec = 0, .tv_nsec = 10'000'000};
      ::nanosleep(&pause, nullptr);
      if (const int code = reap(check); code >= 0) return code;
      const auto now = milliseconds_now();
      if (now >= kill_at) ::kill(check, SIGKILL);
      if (now >= kill_at + kDeathMs) return -1;
      if (now < next_tick) continue;
      look_after(worker);
      next_tick = now + tick_ms();
    }
  }

  // Its signals stay blocked: what comes before it waits for them, waits. A stop that is here
  // already is this version's.
  void exec_new_version() {
    reloading_ = false;
    if (is_stop_pending()) return;
    log::info("starting the new version {}", reload_[0]);
    ::execv(reload_[0], reload_.data());
    const int error = errno;
    log::error("{}", system_error(error, fmt::format("exec {}", reload_[0])).message);
  }

  bool wait_or_stop(int milliseconds) {
    const auto until = milliseconds_now() + milliseconds;
    for (auto now = milliseconds_now(); now < until; now = milliseconds_now()) {
      const int tick = tick_ms();
      const int signal = wait_for_signal(signals_, std::min(tick, static_cast<int>(until - now)));
      if (signal == SIGTERM || signal == SIGINT) return true;
      if (signal == SIGHUP && may_reload(0)) exec_new_version();
      if (signal < 0 && until - now >= tick) look_after(0);
    }
    return false;
  }

  Restarts restarts_;
  const int read_timeout_s_;
  const int fuse_;
  const int requests_;
  const Pulse& pulse_;
  Watch watch_;
  const RootLock& lock_;
  const sigset_t signals_ = signals_of_holder();
  const sigset_t mask_of_children_ = mask_of_children();
  const std::vector<char*> worker_;
  const std::vector<char*> check_;
  const std::vector<char*> reload_;
  unsigned earlier_workers_ = 0;  // than the next one
  bool stopping_ = false;
  bool reloading_ = false;
  // The worker, that was told to end; as milliseconds_now() counts.
  std::optional<int64_t> kill_at_;
  pid_t stuck_check_ = 0;  // one that could not be killed, or 0
  bool refusing_ = false;
  int refusals_ = 0;    // rounds of them, as long as it refuses
  uint32_t beats_ = 0;  // at the last tick of the watch
};

// The connection of an earlier holder, or a new one.
Result<void> make_channel(const std::string& devices, bool connected, Handover& handover) {
  if (connected) {
    log::info("taking over the FUSE connection of an earlier holder");
  } else {
    clear_stale_mount(devices);
    RUNNEL_DO(make_directories(devices, 0700));
    RUNNEL_TRY(auto fuse, open_fuse_mount(devices));
    handover.add(kFuse, std::move(fuse));
    handover.take(kRequests);  // of a connection that is gone
  }
  if (handover.has(kRequests)) return {};
  RUNNEL_TRY(auto slots, RequestSlots::create_file());
  handover.add(kRequests, std::move(slots));
  return {};
}

Result<int> hold(const HolderOptions& options, Handover handover) {
  block_signals_of_holder();
  const auto devices = options.root + "/devices";
  RUNNEL_DO(make_directories(options.root, 0711));
  // Before any mount is touched, which may be another's.
  RUNNEL_TRY(const auto lock, RootLock::take(options.root));
  const bool connected = handover.has(kFuse) && is_connected(handover.get(kFuse));
  RUNNEL_DO(make_channel(devices, connected, handover));
  handover.store_with_systemd();
  RUNNEL_DO(handover.prepare_exec());
  RUNNEL_TRY(const auto pulse, Pulse::create());
  protect_from_death();
  // Who waits for the workers of an earlier holder must not lose the connection to a worker that
  // fails at its start.
  const int code = Holder(options, handover, pulse, lock, connected).run();
  handover.remove_from_systemd();
  // Whoever still uses it gets EIO from now on; an unused mount goes. The connection first: the
  // kernel waits for pages that are being read ahead before it lets a mount go, and nobody answers.
  // Ended by force, because another may have it still: the service manager, which was only asked to
  // forget it.
  ::umount2(devices.c_str(), MNT_FORCE);
  handover.take(kFuse).reset();
  unmount_unused(options.root + "/s");  // ID-mapped clones of what follows
  unmount_unused(options.root + "/mounts");
  ::umount2(devices.c_str(), 0);
  return code;
}

}  // namespace

void block_signals_of_holder() {
  const auto signals = signals_of_holder();
  ::sigprocmask(SIG_BLOCK, &signals, nullptr);
}

int run_holder(const HolderOptions& options, Handover handover) {
  const auto code = hold(options, std::move(handover));
  if (code) return *code;
  log::error("{}", code.error().message);
  return 1;
}

unsigned worker_restarts() {
  const char* text = std::getenv(kRestartsVariable);
  return text == nullptr ? 0 : static_cast<unsigned>(std::strtoul(text, nullptr, 10));
}

Result<FuseChannel> take_channel(Handover& handover) {
  FuseChannel channel{.fuse = handover.take(kFuse), .slots = handover.take(kRequests)};
  if (channel.fuse && channel.slots) return channel;
  return fail(Code::kNotFound,
              "no holder gave this process its FUSE connection: start it as \"runnel node\", "
              "without --worker");
}

}  // namespace runnel::engine
