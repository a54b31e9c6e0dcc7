// A file in memory (memfd_create(2)) that outlives exec(2): what a process keeps for its children,
// and for the newer version of its program that takes its place. An environment variable names the
// descriptor.
#pragma once

#include <cstddef>

#include "base/error.h"

namespace runnel {

// The descriptor that `variable` names when it is such a file, called `name`, of at least `size`
// bytes; otherwise a new one of `size` zeros, and the variable is set. It stays open for as long as
// the process lives. Not thread-safe: it changes the environment.
Result<int> keep_memory_file(const char* variable, const char* name, size_t size);

}  // namespace runnel
