// What a directory tree occupies, as containerd counts it (continuity fs/du_unix.go).
#pragma once

#include <string>

#include "base/error.h"
#include "snapshot/streaming.h"

namespace runnel::snapshot {

// Allocated bytes and inodes below `directory` and of itself, hard links once. What disappears
// meanwhile is left out.
Result<Usage> disk_usage(const std::string& directory);

}  // namespace runnel::snapshot
