// What holds a worker process in: once it is confined, it can compute, read and write the
// descriptors that it has, and nothing else. No file can be opened, no socket made, no program
// started; the kernel ends the process that tries.
#pragma once

#include <cstdint>

#include "base/error.h"

namespace runnel::convert {

// Before anything else: is no target of debuggers, leaves no core file, and has no descriptors from
// `first_unused` on. That it dies with its parent was seen to before it was started.
Result<void> detach(int first_unused);

// Bounds of address space and processor seconds.
Result<void> limit_resources(uint64_t memory_bytes, uint64_t cpu_seconds);

// The filter for system calls, on all threads of the process: later ones cannot be made. What needs
// files to get going (OpenSSL's configuration) has to have been used before.
//
// Sanitizers need calls of their own: programs built with them are not confined.
Result<void> confine();

}  // namespace runnel::convert
