// ID-mapped lower directories: how a snapshot for a user namespace shows the image's files as owned
// by the namespace's users, without a copy of a single one.
//
// containerd asks for it with the labels containerd.io/snapshot/uidmapping and gidmapping,
// "CONTAINER-ID:HOST-ID:LENGTH" and more after commas. Each directory that overlayfs gets as a
// lower one is cloned as a detached mount, mapped, and mounted in the snapshot's own directory
// (Linux 5.19: overlayfs on mapped layers; EROFS and ext4 can be mapped then, FUSE from 6.12 with a
// flag that is not asked for). Files that the container writes go to the upper directory, which is
// not mapped: they have the host's IDs there anyway.
//
// Where the kernel cannot, the call fails and says so: containerd's other way (ctr without
// --remap-labels) copies and chowns the whole image, which the user should choose, not meet.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "base/error.h"
#include "snapshot/streaming.h"

namespace runnel::snapshot {

struct IdRange {
  uint32_t container = 0;
  uint32_t host = 0;
  uint32_t length = 0;

  bool operator==(const IdRange&) const = default;
};

struct IdMapping {
  std::vector<IdRange> users;
  std::vector<IdRange> groups;

  // The host's ID of a container's; nullopt when it is in no range.
  static std::optional<uint32_t> to_host(const std::vector<IdRange>& ranges, uint32_t id);
};

// At most 340 ranges, as the kernel. kInvalid for anything but the form above.
Result<std::vector<IdRange>> parse_id_ranges(const std::string& text);
// None without the labels; kInvalid when only one is there, or one is wrong.
Result<std::optional<IdMapping>> id_mapping_of(const Labels& labels);

// Mounts `source` (a directory, usually a mount) at `target` with its owners mapped. Nothing to do
// when its file system is mounted there; another that is goes, because it is of an earlier mount of
// the source, whose files nobody serves any more. kUnsupported when the file system cannot.
Result<void> mount_id_mapped(const std::string& source, const std::string& target,
                             const IdMapping& mapping);
// Unmounts what mount_id_mapped() mounted in `directory`; it need not exist. Who uses it keeps it.
void unmount_id_mapped(const std::string& directory);

}  // namespace runnel::snapshot
