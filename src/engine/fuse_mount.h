// The FUSE mount that holds the device files, before anybody serves it.
#pragma once

#include <string>

#include "base/error.h"
#include "base/fd.h"

namespace runnel::engine {

// Opens /dev/fuse, mounts it at `directory` (which exists) and answers the kernel's INIT, so that
// whoever has the descriptor next can serve at once. The descriptor is non-blocking.
Result<UniqueFd> open_fuse_mount(const std::string& directory);

}  // namespace runnel::engine
