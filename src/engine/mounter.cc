#include "engine/mounter.h"

#include <fcntl.h>
#include <linux/loop.h>
#include <poll.h>
#include <signal.h>
#include <sys/ioctl.h>
#include <sys/mount.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <cstring>
#include <fstream>
#include <sstream>
#include <thread>

#include "base/clock.h"
#include "base/fd.h"

namespace runnel::engine {

namespace {

constexpr int kLoopAttempts = 64;
// What the kernel reads ahead in a file of such a mount: 128 KiB in sectors, as on a file. Left
// alone it is up to 2560 KiB (Linux 6.18), and each page fault in a program fetches that much
// around it: a start of node got 28 % of its image and not 18.
constexpr unsigned long kReadAheadSectors = 256;
constexpr auto kUnmountPause = std::chrono::milliseconds(20);

// What the child says before it ends.
struct Report {
  int error = 0;          // errno, 0 when it is mounted
  char step[64] = {};     // which call failed
  char kernel[256] = {};  // what the file system wrote into its log
};

// Everything below runs in the child of a process with threads: system calls only.

void set_step(Report& report, const char* step) {
  report.error = errno;
  std::strncpy(report.step, step, sizeof report.step - 1);
}

void read_log(int context, Report& report) {
  const ssize_t size = ::read(context, report.kernel, sizeof report.kernel - 1);
  if (size < 0) report.kernel[0] = '\0';
}

// A read-only loop device over `path` that goes when the last user does; its path in `device`.
int attach_loop(const char* path, char* device, size_t size) {
  const int file = ::open(path, O_RDONLY | O_CLOEXEC);
  if (file < 0) return -1;
  const int control = ::open("/dev/loop-control", O_RDWR | O_CLOEXEC);
  if (control < 0) return -1;
  for (int attempt = 0; attempt < kLoopAttempts; ++attempt) {
    const int number = ::ioctl(control, LOOP_CTL_GET_FREE);
    if (number < 0) return -1;
    std::snprintf(device, size, "/dev/loop%d", number);
    const int loop = ::open(device, O_RDONLY | O_CLOEXEC);
    if (loop < 0) return -1;
    loop_config config{};
    config.fd = static_cast<__u32>(file);
    config.info.lo_flags = LO_FLAGS_READ_ONLY | LO_FLAGS_AUTOCLEAR;
    if (::ioctl(loop, LOOP_CONFIGURE, &config) == 0) {
      return ::ioctl(loop, BLKRASET, kReadAheadSectors) == 0 ? loop : -1;
    }
    const int saved = errno;
    ::close(loop);
    errno = saved;
    if (errno != EBUSY) return -1;  // EBUSY: another process took it first
  }
  return -1;
}

// The child may hang until another worker answers it. It must not keep what that worker needs (the
// cache's lock) nor what would make it wait for ever (the FUSE connection, when all others are
// gone).
void close_all_but(int fd) {
  if (fd > STDERR_FILENO + 1) {
    ::close_range(STDERR_FILENO + 1, static_cast<unsigned>(fd) - 1, 0);
  }
  ::close_range(static_cast<unsigned>(fd) + 1, ~0U, 0);
}

// Device node paths of the loop devices, made before the fork because the child may not allocate.
struct LoopNames {
  std::vector<std::array<char, 32>> names;
};

bool place(int mounted, const ImageMount& mount, Report& report) {
  if (::move_mount(mounted, "", AT_FDCWD, mount.target.c_str(), MOVE_MOUNT_F_EMPTY_PATH) == 0) {
    return true;
  }
  return set_step(report, "move_mount"), false;
}

// A tree is on the FUSE mount already. That one is mounted without set-user-ID programs.
bool bind_in_child(const ImageMount& mount, Report& report) {
  const int tree =
      ::open_tree(AT_FDCWD, mount.tree_path.c_str(), OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC);
  if (tree < 0) return set_step(report, "open_tree"), false;
  mount_attr wanted{};
  wanted.attr_set = MOUNT_ATTR_RDONLY | MOUNT_ATTR_NODEV;
  wanted.attr_clr = MOUNT_ATTR_NOSUID;
  if (::mount_setattr(tree, "", AT_EMPTY_PATH, &wanted, sizeof wanted) != 0) {
    return set_step(report, "mount_setattr"), false;
  }
  return place(tree, mount, report);
}

bool mount_in_child(const ImageMount& mount, LoopNames& loops, Report& report) {
  if (mount.way == Way::kFuse) return bind_in_child(mount, report);
  const char* source = mount.metadata_path.c_str();
  if (mount.way == Way::kErofsLoop) {
    for (size_t i = 0; i <= mount.device_paths.size(); ++i) {
      const char* path = i == 0 ? source : mount.device_paths[i - 1].c_str();
      if (attach_loop(path, loops.names[i].data(), loops.names[i].size()) < 0) {
        set_step(report, "loop device");
        return false;
      }
    }
    source = loops.names[0].data();
  }
  const int context = ::fsopen("erofs", FSOPEN_CLOEXEC);
  if (context < 0) return set_step(report, "fsopen"), false;
  bool good = ::fsconfig(context, FSCONFIG_SET_FLAG, "ro", nullptr, 0) == 0 &&
              ::fsconfig(context, FSCONFIG_SET_STRING, "source", source, 0) == 0;
  for (size_t i = 0; good && i < mount.device_paths.size(); ++i) {
    const char* device =
        mount.way == Way::kErofsLoop ? loops.names[i + 1].data() : mount.device_paths[i].c_str();
    good = ::fsconfig(context, FSCONFIG_SET_STRING, "device", device, 0) == 0;
  }
  if (good && mount.direct_io) {
    good = ::fsconfig(context, FSCONFIG_SET_FLAG, "directio", nullptr, 0) == 0;
  }
  good = good && ::fsconfig(context, FSCONFIG_CMD_CREATE, nullptr, nullptr, 0) == 0;
  if (!good) {
    set_step(report, "mount erofs");
    read_log(context, report);
    return false;
  }
  const int mounted = ::fsmount(context, FSMOUNT_CLOEXEC, MOUNT_ATTR_RDONLY | MOUNT_ATTR_NODEV);
  if (mounted < 0) return set_step(report, "fsmount"), false;
  return place(mounted, mount, report);
}

}  // namespace

namespace {

// Fills `report`, plain bytes, with what the child wrote into its own.
template <class T>
Result<void> in_child(const std::string& what, Duration timeout, T& report,
                      const std::function<void(T&)>& calls) {
  int ends[2];
  if (::pipe2(ends, O_CLOEXEC) != 0) return fail_errno("pipe");
  const UniqueFd read_end(ends[0]);
  UniqueFd write_end(ends[1]);
  const pid_t child = ::fork();
  if (child < 0) return fail_errno("fork");
  if (child == 0) {
    close_all_but(write_end.get());
    calls(report);
    (void)!::write(write_end.get(), &report, sizeof report);
    ::_exit(0);
  }
  write_end.reset();
  pollfd waiting{.fd = read_end.get(), .events = POLLIN, .revents = 0};
  const auto limit = std::chrono::duration_cast<std::chrono::milliseconds>(timeout).count();
  if (::poll(&waiting, 1, static_cast<int>(limit)) != 1) {
    ::kill(child, SIGKILL);
    std::thread([child] { ::waitpid(child, nullptr, 0); }).detach();  // it may take its time to die
    return fail(Code::kUnavailable, "{}: not done within {} ms", what, limit);
  }
  const ssize_t size = ::read(read_end.get(), &report, sizeof report);
  ::waitpid(child, nullptr, 0);
  if (size != sizeof report) return fail(Code::kUnavailable, "{}: its process died", what);
  return {};
}

}  // namespace

Result<int> run_in_child(const char* what, Duration timeout, const std::function<int()>& calls) {
  int answer = 0;
  RUNNEL_DO(in_child<int>(what, timeout, answer, [&](int& into) { into = calls(); }));
  return answer;
}

Result<void> mount_image(const ImageMount& mount, Duration timeout) {
  LoopNames loops;
  loops.names.resize(mount.device_paths.size() + 1);
  Report report;
  RUNNEL_DO(in_child<Report>("mount " + mount.target, timeout, report,
                             [&](Report& into) { mount_in_child(mount, loops, into); }));
  if (report.error == 0) return {};
  std::string kernel = report.kernel;
  while (!kernel.empty() && kernel.back() == '\n') kernel.pop_back();
  auto error = system_error(report.error, fmt::format("mount {} ({}, {})", mount.target,
                                                      to_string(mount.way), report.step));
  if (!kernel.empty()) error.message += fmt::format(" (the kernel says: {})", kernel);
  return std::unexpected(std::move(error));
}

Result<void> unmount_image(const std::string& target, Duration timeout) {
  const SystemClock clock;
  const auto deadline = clock.now() + timeout;
  for (;;) {
    if (::umount2(target.c_str(), UMOUNT_NOFOLLOW) == 0) return {};
    if (errno == EINVAL || errno == ENOENT)
      return fail(Code::kNotFound, "{} is not mounted", target);
    if (errno != EBUSY) return fail_errno("unmount {}", target);
    if (clock.now() >= deadline) return fail(Code::kConflict, "{} is in use", target);
    std::this_thread::sleep_for(kUnmountPause);
  }
}

Result<void> detach_image(const std::string& target) {
  if (::umount2(target.c_str(), UMOUNT_NOFOLLOW | MNT_DETACH) != 0) {
    return fail_errno("detach {}", target);
  }
  return {};
}

namespace {

// mountinfo writes space, tab, newline and backslash as \ooo (proc(5)).
std::string unescape(const std::string& text) {
  std::string out;
  for (size_t i = 0; i < text.size(); ++i) {
    if (text[i] == '\\' && i + 3 < text.size()) {
      out += static_cast<char>((text[i + 1] - '0') * 64 + (text[i + 2] - '0') * 8 +
                               (text[i + 3] - '0'));
      i += 3;
    } else {
      out += text[i];
    }
  }
  return out;
}

}  // namespace

Result<std::vector<MountPoint>> mounts_below(const std::string& directory) {
  std::ifstream file("/proc/self/mountinfo");
  if (!file) return fail(Code::kUnavailable, "cannot read /proc/self/mountinfo");
  std::vector<MountPoint> found;
  for (std::string line; std::getline(file, line);) {
    std::istringstream fields(line);
    std::string id, parent, device, root, target, field, type;
    fields >> id >> parent >> device >> root >> target;
    while (fields >> field && field != "-") {
    }
    fields >> type;
    target = unescape(target);
    if (target == directory || target.starts_with(directory + "/")) {
      found.push_back({.target = target, .type = type, .device = device});
    }
  }
  return found;
}

}  // namespace runnel::engine
