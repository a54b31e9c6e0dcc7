#include "snapshot/id_mapping.h"

#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <charconv>
#include <filesystem>

#include "base/durable.h"
#include "base/fd.h"
#include "base/quote.h"

namespace runnel::snapshot {

namespace {

constexpr const char* kUserLabel = "containerd.io/snapshot/uidmapping";
constexpr const char* kGroupLabel = "containerd.io/snapshot/gidmapping";
constexpr size_t kMaxRanges = 340;  // UID_GID_MAP_MAX_EXTENTS

bool read_number(std::string_view& text, char end, uint32_t& number) {
  const auto [stop, error] = std::from_chars(text.data(), text.data() + text.size(), number);
  if (error != std::errc()) return false;
  text.remove_prefix(static_cast<size_t>(stop - text.data()));
  if (end == '\0') return text.empty();
  if (!text.starts_with(end)) return false;
  text.remove_prefix(1);
  return true;
}

// In an ID-mapped mount the first number is what the file system stores and the second what it is
// shown as: for an image, the container's IDs and the host's.
std::string to_kernel(const std::vector<IdRange>& ranges) {
  std::string text;
  for (const auto& each : ranges) {
    text += fmt::format("{} {} {}\n", each.container, each.host, each.length);
  }
  return text;
}

Result<void> write_map(pid_t child, const char* file, const std::vector<IdRange>& ranges) {
  const auto path = fmt::format("/proc/{}/{}", child, file);
  RUNNEL_TRY(const auto fd, open_file(path, O_WRONLY));
  const auto text = to_kernel(ranges);
  // One write: the kernel takes no second.
  if (::write(fd.get(), text.data(), text.size()) != static_cast<ssize_t>(text.size())) {
    return fail_errno("ID mapping {}", quote(text));
  }
  return {};
}

// A user namespace with the mapping. It needs a process to be made, and none to exist.
Result<UniqueFd> user_namespace(const IdMapping& mapping) {
  const pid_t parent = ::getpid();
  const long child = ::syscall(SYS_clone, CLONE_NEWUSER | SIGCHLD, nullptr, nullptr, nullptr, 0);
  if (child == 0) {
    // It must not outlive this process, nor keep what its next worker needs.
    ::prctl(PR_SET_PDEATHSIG, SIGKILL);
    if (::getppid() != parent) ::_exit(1);
    ::close_range(0, ~0U, 0);
    for (;;) ::pause();  // until it is killed below
  }
  if (child < 0) return fail_errno("make a user namespace");
  const auto pid = static_cast<pid_t>(child);
  const auto made = [&]() -> Result<UniqueFd> {
    RUNNEL_DO(write_map(pid, "uid_map", mapping.users));
    RUNNEL_DO(write_map(pid, "gid_map", mapping.groups));
    return open_file(fmt::format("/proc/{}/ns/user", pid), O_RDONLY);
  };
  auto made_namespace = made();
  ::kill(pid, SIGKILL);
  ::waitpid(pid, nullptr, 0);
  return made_namespace;
}

// Without asking the file system, which nobody may serve any more.
std::optional<struct statx> look_at(const std::string& path) {
  struct statx here{};
  const int flags = AT_SYMLINK_NOFOLLOW | AT_STATX_DONT_SYNC;
  if (::statx(AT_FDCWD, path.c_str(), flags, STATX_TYPE, &here) != 0) return std::nullopt;
  return here;
}

bool is_mount_point(const struct statx& here) {
  return (here.stx_attributes_mask & STATX_ATTR_MOUNT_ROOT) != 0 &&
         (here.stx_attributes & STATX_ATTR_MOUNT_ROOT) != 0;
}

// Whether a mount of the source's file system is at `target`. Each mount of an image has a device
// number of its own, which its clones share.
bool is_clone(const std::string& target, const std::string& source) {
  const auto here = look_at(target);
  const auto there = look_at(source);
  return here && there && is_mount_point(*here) && here->stx_dev_major == there->stx_dev_major &&
         here->stx_dev_minor == there->stx_dev_minor;
}

// All that is mounted at `path`, one on top of the other. Who uses it keeps it.
void detach(const std::string& path) {
  while (::umount2(path.c_str(), UMOUNT_NOFOLLOW | MNT_DETACH) == 0) {
  }
}

}  // namespace

std::optional<uint32_t> IdMapping::to_host(const std::vector<IdRange>& ranges, uint32_t id) {
  for (const auto& each : ranges) {
    if (id >= each.container && id - each.container < each.length) {
      return each.host + (id - each.container);
    }
  }
  return std::nullopt;
}

Result<std::vector<IdRange>> parse_id_ranges(const std::string& text) {
  std::vector<IdRange> ranges;
  for (size_t at = 0; at <= text.size();) {
    const size_t end = std::min(text.find(',', at), text.size());
    std::string_view part(text.data() + at, end - at);
    IdRange range;
    const bool good = read_number(part, ':', range.container) &&
                      read_number(part, ':', range.host) && read_number(part, '\0', range.length);
    if (!good || range.length == 0 || range.length - 1 > UINT32_MAX - range.container ||
        range.length - 1 > UINT32_MAX - range.host || ranges.size() == kMaxRanges) {
      return fail(Code::kInvalid, "ID mapping {}: expected CONTAINER-ID:HOST-ID:LENGTH,…",
                  quote(text));
    }
    ranges.push_back(range);
    at = end + 1;
  }
  return ranges;
}

Result<std::optional<IdMapping>> id_mapping_of(const Labels& labels) {
  const auto users = labels.find(kUserLabel);
  const auto groups = labels.find(kGroupLabel);
  if (users == labels.end() && groups == labels.end()) return std::optional<IdMapping>();
  if (users == labels.end() || groups == labels.end()) {
    return fail(Code::kInvalid, "labels {} and {} are needed both", kUserLabel, kGroupLabel);
  }
  IdMapping mapping;
  RUNNEL_TRY(mapping.users, parse_id_ranges(users->second));
  RUNNEL_TRY(mapping.groups, parse_id_ranges(groups->second));
  return std::optional(std::move(mapping));
}

Result<void> mount_id_mapped(const std::string& source, const std::string& target,
                             const IdMapping& mapping) {
  if (is_clone(target, source)) return {};
  detach(target);
  RUNNEL_DO(make_directories(target, 0711));
  RUNNEL_TRY(const auto users, user_namespace(mapping));
  const UniqueFd tree(::open_tree(AT_FDCWD, source.c_str(), OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC));
  if (!tree) return fail_errno("clone {}", source);
  mount_attr wanted{};
  wanted.attr_set = MOUNT_ATTR_IDMAP | MOUNT_ATTR_RDONLY;
  wanted.userns_fd = static_cast<uint64_t>(users.get());
  if (::mount_setattr(tree.get(), "", AT_EMPTY_PATH, &wanted, sizeof wanted) != 0) {
    if (errno != EINVAL) return fail_errno("map the owners of {}", source);
    return fail(Code::kUnsupported,
                "this kernel cannot show {} with other owners (an ID-mapped mount of its file "
                "system): run the container without --remap-labels, and containerd copies the "
                "image and changes its owners; a pod needs hostUsers: true",
                source);
  }
  if (::move_mount(tree.get(), "", AT_FDCWD, target.c_str(), MOVE_MOUNT_F_EMPTY_PATH) != 0) {
    return fail_errno("mount {}", target);
  }
  return {};
}

void unmount_id_mapped(const std::string& directory) {
  std::error_code error;
  for (const auto& entry : std::filesystem::directory_iterator(directory, error))
    detach(entry.path());
}

}  // namespace runnel::snapshot
