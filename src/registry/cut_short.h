// What conversions were at when their process ended: uploads of theirs, which nobody can go on with
// and which would otherwise stay for as long as a client's that may come back.
//
// Several registries may work in one data directory. Each holds a lock for as long as it converts,
// and only who finds that nobody else does takes such uploads away.
#pragma once

#include "base/fd.h"
#include "registry/uploads.h"

namespace runnel::registry {

// Before the first conversion. Keep what comes back until the last one has ended. Blocks while
// another process is at the same.
Result<UniqueFd> clear_what_was_cut_short(const std::string& work_directory, Uploads& uploads);

}  // namespace runnel::registry
