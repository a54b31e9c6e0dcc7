// What a node keeps in its root directory, to be removed for good.
#pragma once

#include <string>

#include "base/clock.h"
#include "base/error.h"

namespace runnel::install {

// Removes what a node makes in `root` and nothing else, then `root` itself when that is empty: some
// have the registry's data or files of their own there. Waits as long as `patience` for a node that
// is ending: what stops it may not have waited. The name of something that was left, "" when `root`
// is gone. kConflict, and nothing removed, when the node still runs then; kConflict when something
// cannot be removed: what makes `root` a node's is there until all else is gone.
Result<std::string> remove_node_root(const std::string& root, Duration patience);

}  // namespace runnel::install
