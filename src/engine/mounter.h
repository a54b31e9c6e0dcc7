// Mounts and unmounts EROFS images.
//
// A mount of FUSE-served devices opens files that this very process serves. Killed at that moment,
// the calling thread would wait for ever for an answer from itself, and the process would never
// finish dying. So it is done by a child that runs system calls and nothing else.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "base/clock.h"
#include "base/error.h"
#include "engine/way.h"

namespace runnel::engine {

struct MountDevice {
  std::string path;
  // kErofsLoop: the loop device reads the file past its page cache, and without waiting for one
  // read before it begins the next. For files that this process serves.
  bool direct_loop = false;
};

struct ImageMount {
  Way way = Way::kErofsFile;
  std::string metadata_path;
  std::vector<MountDevice> devices;  // slot 1 first
  std::string tree_path;             // kFuse: the tree, on the FUSE mount; nothing else then
  std::string target;                // a directory
  // Reads of file content go past the page cache of the devices. Only for kErofsFile, and only when
  // every device is a plain file: one that this process serves would be asked for each read again.
  bool direct_io = false;
};

// Mounts read-only and without device nodes; set-user-ID programs keep their meaning. Returns, for
// kErofsLoop, the names of the devices' loop devices ("loop7") in their order, else none.
// kUnavailable when it takes longer than `timeout`; the mount may then still appear. The message
// has what the kernel said.
Result<std::vector<std::string>> mount_image(const ImageMount& mount, Duration timeout);

// What a container had open is closed a moment after it has ended.
enum class WhenBusy : uint8_t { kTryAgain, kAnswer };

// kConflict when something uses it, with kTryAgain only when it still does after `timeout`;
// kNotFound when nothing is mounted there. The kernel lets a mount go when what it reads ahead for
// readers that are gone has ended, and who unmounts cannot be killed meanwhile, so this too is done
// beside; after `timeout` it is nobody's any more, and success.
Result<void> unmount_image(const std::string& target, Duration timeout,
                           WhenBusy when_busy = WhenBusy::kTryAgain);

// Takes a mount out of the tree while something uses it; what is open stays open. For mounts whose
// devices are dead, and logged by the caller.
Result<void> detach_image(const std::string& target);

struct MountPoint {
  std::string target;
  std::string type;    // "erofs", "fuse.runnel"
  std::string device;  // "0:45", as st_dev of a file in it
};
// Whether something is mounted at `path`, in a time that does not grow with the machine's mounts.
// Asks no file system (AT_STATX_DONT_SYNC): this process may serve the one that is mounted there.
Result<bool> is_mount_point(const std::string& path);

// The mounts of this mount namespace below `directory` or at it, in the order in which they were
// made.
Result<std::vector<MountPoint>> mounts_below(const std::string& directory);
// Those that a text in the form of /proc/self/mountinfo names.
std::vector<MountPoint> mounts_in(std::string_view mountinfo, const std::string& directory);

}  // namespace runnel::engine
