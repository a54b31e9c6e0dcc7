// Directory trees as containers leave them: what they occupy, and their removal.
//
// A container may nest directories deeper than PATH_MAX and than the limit on descriptors, so
// neither whole paths nor one open directory a level will do. The walk keeps one directory open,
// enters a child by its name without following links, and leaves it through "..", after which it
// must find itself where it came from. It stays on one file system.
#pragma once

#include <string>

#include "base/error.h"
#include "snapshot/streaming.h"

namespace runnel::snapshot {

// Allocated bytes and inodes of `directory` and everything below, hard links once, as containerd
// counts (continuity fs/du_unix.go). What disappears meanwhile is left out; kUnavailable when a
// directory was moved while the walk was in it.
Result<Usage> disk_usage(const std::string& directory);

// Removes `directory` and everything below. It may be gone already, and others may remove from it
// at the same time. Goes on past what it cannot remove and returns the first error.
Result<void> remove_tree(const std::string& directory);

}  // namespace runnel::snapshot
