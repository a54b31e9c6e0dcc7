// What a node keeps in its root directory, to be removed for good.
#pragma once

#include <string>

#include "base/error.h"

namespace runnel::install {

// Removes what a node makes in `root` and nothing else, then `root` itself when that is empty: some
// have the registry's data or files of their own there. The node must not run. The name of
// something that was left, "" when `root` is gone. kConflict when something cannot be removed.
Result<std::string> remove_node_root(const std::string& root);

}  // namespace runnel::install
