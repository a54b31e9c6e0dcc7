#include "engine/mounter.h"

#include <fcntl.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstring>
#include <memory>
#include <ranges>
#include <string_view>
#include <thread>

#include "base/clock.h"
#include "base/fd.h"
#include "engine/loop_device.h"
#include "engine/side_process.h"

namespace runnel::engine {

namespace {

constexpr auto kUnmountPause = std::chrono::milliseconds(20);

// What became of it.
struct Report {
  int error = 0;          // errno, 0 when it is mounted
  char step[64] = {};     // which call failed
  char kernel[256] = {};  // what the file system wrote into its log
};

// Everything below runs in a process of its own (side_process.h): system calls only.

void set_step(Report& report, const char* step) {
  report.error = errno;
  std::strncpy(report.step, step, sizeof report.step - 1);
}

void read_log(int context, Report& report) {
  const ssize_t size = ::read(context, report.kernel, sizeof report.kernel - 1);
  if (size < 0) report.kernel[0] = '\0';
}

// A mount on its way: all that its process uses.
struct Mounting {
  ImageMount mount;
  std::vector<std::array<char, 32>>
      loops;  // paths of the loop devices; the process may not allocate
  Report report;
};

bool place(int mounted, const ImageMount& mount, Report& report) {
  if (::move_mount(mounted, "", AT_FDCWD, mount.target.c_str(), MOVE_MOUNT_F_EMPTY_PATH) == 0) {
    return true;
  }
  return set_step(report, "move_mount"), false;
}

// A tree is on the FUSE mount already. That one is mounted without set-user-ID programs.
bool bind_tree(const ImageMount& mount, Report& report) {
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

bool mount_there(Mounting& mounting) {
  const ImageMount& mount = mounting.mount;
  auto& loops = mounting.loops;
  Report& report = mounting.report;
  if (mount.way == Way::kFuse) return bind_tree(mount, report);
  const char* source = mount.metadata_path.c_str();
  if (mount.way == Way::kErofsLoop) {
    for (size_t i = 0; i <= mount.devices.size(); ++i) {
      const char* path = i == 0 ? source : mount.devices[i - 1].path.c_str();
      const bool direct = i > 0 && mount.devices[i - 1].direct_loop;
      if (attach_loop(path, direct, loops[i].data(), loops[i].size()) < 0) {
        set_step(report, "loop device");
        return false;
      }
    }
    source = loops[0].data();
  }
  const int context = ::fsopen("erofs", FSOPEN_CLOEXEC);
  if (context < 0) return set_step(report, "fsopen"), false;
  bool good = ::fsconfig(context, FSCONFIG_SET_FLAG, "ro", nullptr, 0) == 0 &&
              ::fsconfig(context, FSCONFIG_SET_STRING, "source", source, 0) == 0;
  for (size_t i = 0; good && i < mount.devices.size(); ++i) {
    const char* device =
        mount.way == Way::kErofsLoop ? loops[i + 1].data() : mount.devices[i].path.c_str();
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

// The first is the metadata's.
std::vector<std::string> names_of_loops(const Mounting& mounting) {
  std::vector<std::string> names;
  if (mounting.mount.way != Way::kErofsLoop) return names;
  for (const auto& path : mounting.loops | std::views::drop(1))
    names.push_back(std::string(path.data()).substr(std::strlen("/dev/")));
  return names;
}

}  // namespace

Result<std::vector<std::string>> mount_image(const ImageMount& mount, Duration timeout) {
  const auto mounting =
      std::make_shared<Mounting>(Mounting{.mount = mount, .loops = {}, .report = {}});
  mounting->loops.resize(mount.devices.size() + 1);
  RUNNEL_TRY(const int mounted, run_beside("mount " + mount.target, timeout,
                                           [mounting] { return mount_there(*mounting) ? 1 : 0; }));
  if (mounted == 1) return names_of_loops(*mounting);
  const auto& report = mounting->report;
  std::string kernel = report.kernel;
  while (!kernel.empty() && kernel.back() == '\n') kernel.pop_back();
  auto error = system_error(report.error, fmt::format("mount {} ({}, {})", mount.target,
                                                      to_string(mount.way), report.step));
  if (!kernel.empty()) error.message += fmt::format(" (the kernel says: {})", kernel);
  return std::unexpected(std::move(error));
}

Result<void> unmount_image(const std::string& target, Duration timeout, WhenBusy when_busy) {
  const SystemClock clock;
  const auto deadline = clock.now() + timeout;
  for (;;) {
    const auto error = run_beside("unmount " + target, timeout, [target] {
      return ::umount2(target.c_str(), UMOUNT_NOFOLLOW) == 0 ? 0 : errno;
    });
    if (!error) {
      const auto left = mounts_below(target);
      if (left && left->empty()) return {};  // it waits for what is being read
      return std::unexpected(error.error());
    }
    if (*error == 0) return {};
    if (*error == EINVAL || *error == ENOENT)
      return fail(Code::kNotFound, "{} is not mounted", target);
    if (*error != EBUSY)
      return std::unexpected(system_error(*error, fmt::format("unmount {}", target)));
    if (when_busy == WhenBusy::kAnswer || clock.now() >= deadline)
      return fail(Code::kConflict, "{} is in use", target);
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

constexpr size_t kReadAtOnce = 64 * 1024;

Result<std::string> read_mountinfo() {
  RUNNEL_TRY(const UniqueFd file, open_file("/proc/self/mountinfo", O_RDONLY));
  std::string text;
  for (size_t size = 0;;) {
    text.resize(size + kReadAtOnce);
    const ssize_t got = ::read(file.get(), text.data() + size, kReadAtOnce);
    if (got < 0 && errno == EINTR) continue;
    if (got < 0) return fail_errno("read /proc/self/mountinfo");
    size += static_cast<size_t>(got);
    if (got == 0) return text.resize(size), text;
  }
}

// mountinfo writes space, tab, newline and backslash as \ooo (proc(5)).
std::string unescape(std::string_view text) {
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

// Takes what stands before the next `separator`, and that, off `rest`.
std::string_view take_field(std::string_view& rest, char separator) {
  const auto end = rest.find(separator);
  const auto field = rest.substr(0, end);
  rest.remove_prefix(end == rest.npos ? rest.size() : end + 1);
  return field;
}

}  // namespace

Result<bool> is_mount_point(const std::string& path) {
  struct statx info;
  const int flags = AT_SYMLINK_NOFOLLOW | AT_NO_AUTOMOUNT | AT_STATX_DONT_SYNC;
  const bool told = ::statx(AT_FDCWD, path.c_str(), flags, 0, &info) == 0;
  if (told && (info.stx_attributes_mask & STATX_ATTR_MOUNT_ROOT) != 0)
    return (info.stx_attributes & STATX_ATTR_MOUNT_ROOT) != 0;
  if (!told && (errno == ENOENT || errno == ENOTDIR)) return false;
  // Linux before 5.8, or a mount that is broken.
  RUNNEL_TRY(const auto mounts, mounts_below(path));
  return std::ranges::any_of(mounts, [&](const auto& mount) { return mount.target == path; });
}

Result<std::vector<MountPoint>> mounts_below(const std::string& directory) {
  RUNNEL_TRY(const std::string text, read_mountinfo());
  return mounts_in(text, directory);
}

std::vector<MountPoint> mounts_in(std::string_view mountinfo, const std::string& directory) {
  std::vector<MountPoint> found;
  while (!mountinfo.empty()) {
    std::string_view line = take_field(mountinfo, '\n');
    for (int skipped = 0; skipped < 2; ++skipped) take_field(line, ' ');  // its ID, its parent's
    const auto device = take_field(line, ' ');
    take_field(line, ' ');  // the root
    auto target = unescape(take_field(line, ' '));
    if (target != directory && !target.starts_with(directory + "/")) continue;
    while (!line.empty() && take_field(line, ' ') != "-") {
    }
    found.push_back({.target = std::move(target),
                     .type = std::string(take_field(line, ' ')),
                     .device = std::string(device)});
  }
  return found;
}

}  // namespace runnel::engine
