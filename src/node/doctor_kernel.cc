// The doctor on the kernel: every mount that a node makes, tried.

#include <poll.h>
#include <sched.h>
#include <sys/eventfd.h>
#include <sys/mount.h>
#include <sys/signalfd.h>
#include <unistd.h>

#include <algorithm>
#include <csignal>
#include <cstdlib>
#include <filesystem>
#include <thread>

#include "base/clock.h"
#include "base/durable.h"
#include "base/fd.h"
#include "engine/device_fs.h"
#include "engine/fuse_mount.h"
#include "engine/probe.h"
#include "engine/request_slots.h"
#include "node/doctor_parts.h"

namespace runnel::node {

namespace {

namespace fs = std::filesystem;

// A directory for trial mounts that goes with the object.
class Scratch {
 public:
  static Result<Scratch> make(const std::string& parent) {
    auto path = parent + "/.runnel-doctor-XXXXXX";
    if (::mkdtemp(path.data()) == nullptr) return fail_errno("mkdtemp {}", path);
    return Scratch(path);
  }
  ~Scratch() {
    std::error_code ignored;
    if (!path_.empty()) fs::remove_all(path_, ignored);
  }
  Scratch(Scratch&& other) noexcept : path_(std::exchange(other.path_, {})) {}
  Scratch& operator=(Scratch&&) = delete;

  const std::string& path() const { return path_; }

 private:
  explicit Scratch(std::string path) : path_(std::move(path)) {}
  std::string path_;
};

Finding examine_erofs(const std::vector<engine::ProbeResult>& results) {
  constexpr auto kSubject = "kernel: EROFS";
  std::string ways;
  bool works = false;
  for (const auto& result : results) {
    if (result.way == engine::Way::kFuse) continue;
    works |= result.ok;
    ways += fmt::format("{}{}: {}", ways.empty() ? "" : "; ", engine::to_string(result.way),
                        result.reason);
  }
  if (works) return good(kSubject, ways);
  return poor(
      kSubject, ways,
      "modprobe erofs; modprobe loop; without them the node serves whole trees, more slowly");
}

Finding examine_direct_io(const engine::ProbeResult& trial, bool wanted) {
  constexpr auto kSubject = "kernel: direct I/O";
  if (trial.ok) {
    return good(kSubject, fmt::format("{}; {}", trial.reason,
                                      wanted ? "direct_io is on" : "direct_io is off"));
  }
  if (!wanted) return good(kSubject, "does not work, direct_io is off: " + trial.reason);
  return poor(kSubject, trial.reason, "Linux 6.15 and later can; or leave direct_io off");
}

Finding examine_recovery(const engine::DeviceFs& devices) {
  constexpr auto kSubject = "kernel: FUSE";
  if (devices.recovery() == engine::Recovery::kResend) {
    return good(kSubject, "mounts; " + devices.recovery_reason());
  }
  return poor(kSubject, "mounts; " + devices.recovery_reason(), "Linux 6.9 and later can");
}

// FUSE and, on files that it serves as a worker would, EROFS.
Findings examine_streaming(const std::string& directory, bool direct_io) {
  const auto mount_point = directory + "/devices";
  const SystemClock clock;
  const auto start = [&]() -> Result<std::unique_ptr<engine::DeviceFs>> {
    RUNNEL_DO(make_directories(mount_point, 0700));
    RUNNEL_TRY(auto fuse, engine::open_fuse_mount(mount_point));
    RUNNEL_TRY(auto slots, engine::RequestSlots::create_file());
    return engine::DeviceFs::start({.fuse = std::move(fuse), .slots = std::move(slots)}, {}, clock);
  };
  auto devices = start();
  Findings findings;
  if (devices) {
    findings.push_back(examine_recovery(**devices));
    findings.push_back(examine_erofs(engine::probe_ways(directory, mount_point)));
    findings.push_back(examine_direct_io(engine::probe_direct_io(directory), direct_io));
    devices->reset();
  } else {
    findings.push_back(bad("kernel: FUSE", devices.error().message,
                           "modprobe fuse; in a container: --device /dev/fuse"));
    findings.push_back(bad("kernel: EROFS", "cannot be tried without FUSE", "see there"));
  }
  ::umount2(mount_point.c_str(), MNT_DETACH);
  return findings;
}

Finding examine_overlay(const std::string& directory) {
  constexpr auto kSubject = "kernel: overlayfs";
  for (const char* name : {"/lower", "/upper", "/work", "/merged"}) {
    if (auto made = make_directories(directory + name, 0700); !made) {
      return bad(kSubject, made.error().message, "make the directory writable for root");
    }
  }
  const auto options =
      fmt::format("lowerdir={0}/lower,upperdir={0}/upper,workdir={0}/work", directory);
  const auto target = directory + "/merged";
  if (::mount("overlay", target.c_str(), "overlay", 0, options.c_str()) != 0) {
    return bad(
        kSubject, fail_errno("mount at {}", target).error().message,
        "modprobe overlay; the root directory must be on a file system that overlayfs takes");
  }
  ::umount2(target.c_str(), MNT_DETACH);
  return good(kSubject, "mounts");
}

// Whatever is mounted by this thread and its children is seen by nobody else, and gone with them.
// Where that is forbidden, so is mounting, which the findings then say.
void leave_mount_namespace() {
  if (::unshare(CLONE_NEWNS) == 0) ::mount(nullptr, "/", nullptr, MS_REC | MS_PRIVATE, nullptr);
}

// SIGINT and SIGTERM, to be read from a descriptor and not to end the process meanwhile.
class HeldSignals {
 public:
  HeldSignals() {
    sigemptyset(&signals_);
    sigaddset(&signals_, SIGINT);
    sigaddset(&signals_, SIGTERM);
    pthread_sigmask(SIG_BLOCK, &signals_, &before_);
    fd_ = UniqueFd(::signalfd(-1, &signals_, SFD_CLOEXEC));
  }
  ~HeldSignals() { pthread_sigmask(SIG_SETMASK, &before_, nullptr); }
  HeldSignals(const HeldSignals&) = delete;
  HeldSignals& operator=(const HeldSignals&) = delete;

  // Waits for one, or until the other descriptor is readable: then 0.
  int wait_beside(int other) const {
    pollfd either[] = {{.fd = fd_.get(), .events = POLLIN, .revents = 0},
                       {.fd = other, .events = POLLIN, .revents = 0}};
    while (::poll(either, 2, -1) < 0 && errno == EINTR) {
    }
    signalfd_siginfo got{};
    if ((either[0].revents & POLLIN) == 0) return 0;
    return ::read(fd_.get(), &got, sizeof got) == sizeof got ? static_cast<int>(got.ssi_signo) : 0;
  }

 private:
  sigset_t signals_{};
  sigset_t before_{};
  UniqueFd fd_;
};

}  // namespace

// In a mount namespace of a thread's own, so that an end in the middle (Ctrl-C) leaves no mount.
// Its directory is seen from here without any mount in it, and so can be removed at any time.
Findings examine_kernel(const Config& config) {
  const auto parent = existing_part(config.root);
  const HeldSignals signals;
  const UniqueFd done(::eventfd(0, EFD_CLOEXEC));
  const auto scratch = Scratch::make(parent);
  if (!scratch) {
    return {bad("kernel", scratch.error().message, "make the directory writable for root")};
  }
  Findings findings;
  std::thread trial([&, path = scratch->path()] {
    leave_mount_namespace();
    findings = examine_streaming(path, config.direct_io);
    findings.push_back(examine_overlay(path + "/overlay"));
    (void)::eventfd_write(done.get(), 1);
  });
  if (const int signal = signals.wait_beside(done.get()); signal != 0) {
    // The trial goes on until the process ends, and may put back what is removed meanwhile.
    std::error_code ignored;
    for (int tries = 0; tries < 100 && fs::exists(scratch->path(), ignored); ++tries) {
      fs::remove_all(scratch->path(), ignored);
    }
    std::_Exit(128 + signal);
  }
  trial.join();
  return findings;
}

}  // namespace runnel::node
