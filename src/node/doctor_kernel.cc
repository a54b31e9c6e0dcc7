// The doctor on the kernel: every mount that a node makes, tried.

#include <sys/mount.h>
#include <unistd.h>

#include <algorithm>
#include <cstdlib>
#include <filesystem>

#include "base/clock.h"
#include "base/durable.h"
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

Finding examine_recovery(const engine::DeviceFs& devices) {
  constexpr auto kSubject = "kernel: FUSE";
  if (devices.recovery() == engine::Recovery::kResend) {
    return good(kSubject, "mounts; " + devices.recovery_reason());
  }
  return poor(kSubject, "mounts; " + devices.recovery_reason(), "Linux 6.9 and later can");
}

// FUSE and, on files that it serves as a worker would, EROFS.
Findings examine_streaming(const std::string& directory) {
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

}  // namespace

Findings examine_kernel(const std::string& root) {
  const auto parent = existing_part(root);
  const auto scratch = Scratch::make(parent);
  if (!scratch) {
    return {bad("kernel", scratch.error().message, "make the directory writable for root")};
  }
  auto findings = examine_streaming(scratch->path());
  findings.push_back(examine_overlay(scratch->path() + "/overlay"));
  return findings;
}

}  // namespace runnel::node
