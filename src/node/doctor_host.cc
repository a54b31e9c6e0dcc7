// The doctor on this machine's permissions and disk.

#include <fcntl.h>
#include <linux/magic.h>
#include <sys/statfs.h>
#include <sys/statvfs.h>
#include <sys/xattr.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>
#include <map>

#include "base/fd.h"
#include "cache/disk.h"
#include "node/doctor_parts.h"

namespace runnel::node {

namespace {

namespace fs = std::filesystem;

constexpr uint64_t kXfsMagic = 0x58465342;
constexpr uint64_t kZfsMagic = 0x2fc12fc1;
constexpr unsigned kCapSysAdmin = 21;

std::string size_text(uint64_t bytes) {
  const double mebibytes = static_cast<double>(bytes) / (1 << 20);
  if (mebibytes < 1024) return fmt::format("{:.0f} MiB", mebibytes);
  return fmt::format("{:.1f} GiB", mebibytes / 1024);
}

bool has_capability(unsigned capability) {
  std::ifstream status("/proc/self/status");
  for (std::string line; std::getline(status, line);) {
    if (!line.starts_with("CapEff:")) continue;
    return (std::strtoull(line.c_str() + sizeof "CapEff:", nullptr, 16) >> capability & 1) != 0;
  }
  return false;
}

std::string file_system_name(uint64_t magic) {
  static const std::map<uint64_t, std::string> names = {
      {EXT4_SUPER_MAGIC, "ext4"},           {kXfsMagic, "xfs"},
      {BTRFS_SUPER_MAGIC, "btrfs"},         {TMPFS_MAGIC, "tmpfs"},
      {OVERLAYFS_SUPER_MAGIC, "overlayfs"}, {NFS_SUPER_MAGIC, "nfs"},
      {F2FS_SUPER_MAGIC, "f2fs"},           {kZfsMagic, "zfs"}};
  const auto found = names.find(magic);
  return found == names.end() ? fmt::format("file system {:#x}", magic) : found->second;
}

Finding examine_type(const std::string& directory) {
  constexpr auto kSubject = "disk: file system";
  struct statfs info;
  if (::statfs(directory.c_str(), &info) != 0) {
    const auto error = fail_errno("statfs {}", directory).error().message;
    return bad(kSubject, error, "make the directory readable");
  }
  const auto magic = static_cast<uint64_t>(info.f_type);
  const auto found = fmt::format("{} is on {}", directory, file_system_name(magic));
  if (magic == OVERLAYFS_SUPER_MAGIC) {
    return bad(kSubject, found, "give --root a directory on a disk: overlayfs does not stack");
  }
  if (magic == NFS_SUPER_MAGIC) {
    return bad(kSubject, found, "give --root a directory on a local disk");
  }
  if (magic == TMPFS_MAGIC) {
    return poor(kSubject, found, "a directory on a disk survives a restart and costs no memory");
  }
  return good(kSubject, found);
}

// What the layers below the root take, as far as this user may look.
uint64_t cached_bytes(const std::string& root) {
  uint64_t bytes = 0;
  const auto layers = cache::scan_layers(root + "/cache");
  if (!layers) return 0;
  for (const auto& layer : *layers) bytes += layer.bytes;
  return bytes;
}

Finding examine_space(const std::string& directory, const Config& config) {
  constexpr auto kSubject = "disk: space";
  struct statvfs info;
  if (::statvfs(directory.c_str(), &info) != 0) {
    return bad(kSubject, fail_errno("statvfs {}", directory).error().message,
               "make the directory readable");
  }
  if ((info.f_flag & ST_RDONLY) != 0) {
    return bad(kSubject, directory + " is on a read-only file system",
               "mount it writable, or give --root a directory on another");
  }
  const uint64_t total = info.f_blocks * info.f_frsize;
  const uint64_t available = info.f_bavail * info.f_frsize;
  cache::Budget budget(config.cache);
  budget.measured(total, available, cached_bytes(config.root));
  return judge_space(
      fmt::format("{} of {} free below {}", size_text(available), size_text(total), directory),
      budget.status());
}

// Overlayfs keeps what it must remember in extended attributes, the cache keeps sparse files.
Finding examine_features(const std::string& directory) {
  constexpr auto kSubject = "disk: extended attributes and holes";
  const auto file = open_file(directory, O_TMPFILE | O_RDWR, 0600);
  if (!file) {
    return bad(kSubject, file.error().message, "make the directory writable for root");
  }
  std::string missing;
  const char* name = ::geteuid() == 0 ? "trusted.overlay.opaque" : "user.runnel";
  if (::fsetxattr(file->get(), name, "y", 1, 0) != 0) {
    missing = fail_errno("set {}", name).error().message;
  }
  constexpr off_t kSize = 1 << 20;
  if (::ftruncate(file->get(), kSize) != 0 ||
      ::fallocate(file->get(), FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, 0, kSize) != 0) {
    missing += (missing.empty() ? "" : "; ") + fail_errno("punch a hole").error().message;
  }
  if (missing.empty()) return good(kSubject, "work below " + directory);
  return bad(kSubject, fmt::format("{}: {}", directory, missing),
             "give --root a directory on ext4, xfs or btrfs");
}

}  // namespace

Finding judge_space(const std::string& found, const cache::Budget::Status& status) {
  constexpr auto kSubject = "disk: space";
  if (status.state == cache::Budget::State::kFull) {
    return bad(kSubject, found,
               fmt::format("below {} free (cache.reserve) nothing more can be read that is not "
                           "here: remove images, or move --root",
                           size_text(status.reserve)));
  }
  if (status.state == cache::Budget::State::kNoFilling && status.used > status.max_bytes) {
    return poor(kSubject, found,
                fmt::format("the cache takes {} of {} (cache.max_bytes), so nothing is fetched "
                            "ahead: runnel node clear, or allow more",
                            size_text(status.used), size_text(status.max_bytes)));
  }
  if (status.state == cache::Budget::State::kNoFilling) {
    return poor(kSubject, found,
                fmt::format("below {} free (cache.min_free) nothing is fetched ahead: remove "
                            "images, or add space",
                            size_text(status.min_free)));
  }
  return good(kSubject, found);
}

std::string existing_part(const std::string& directory) {
  fs::path path(directory);
  std::error_code error;
  while (path.has_relative_path() && !fs::is_directory(path, error)) path = path.parent_path();
  return path.empty() ? "." : path.string();
}

Findings examine_permissions() {
  Findings findings;
  if (::geteuid() != 0) {
    findings.push_back(bad("permissions: root", fmt::format("this is user {}", ::geteuid()),
                           "run it as root: mounts can be tried by nobody else"));
  } else if (!has_capability(kCapSysAdmin)) {
    findings.push_back(bad("permissions: root", "root without CAP_SYS_ADMIN",
                           "give it the capability: it mounts the containers' file systems"));
  } else {
    findings.push_back(good("permissions: root", "may mount"));
  }
  if (const auto fuse = open_file("/dev/fuse", O_RDWR)) {
    findings.push_back(good("permissions: /dev/fuse", "can be opened"));
  } else {
    findings.push_back(bad("permissions: /dev/fuse", fuse.error().message,
                           "modprobe fuse; in a container: give it the device"));
  }
  if (::access("/sys/fs/cgroup/cgroup.controllers", F_OK) == 0) {
    findings.push_back(good("permissions: cgroup", "version 2"));
  } else {
    findings.push_back(
        poor("permissions: cgroup", "version 2 is not mounted at /sys/fs/cgroup",
             "boot with systemd.unified_cgroup_hierarchy=1: the v1 freezer stops readers in kernel "
             "locks"));
  }
  return findings;
}

Findings examine_disk(const Config& config) {
  const auto directory = existing_part(config.root);
  return {examine_type(directory), examine_space(directory, config), examine_features(directory)};
}

}  // namespace runnel::node
