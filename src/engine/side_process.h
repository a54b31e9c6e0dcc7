// System calls that may hang, in a process of their own.
//
// It shares this process's memory, so that making it costs 0.2 ms however large this process is;
// copying the page tables for a fork took 3 ms of a node's worker, ending the copy 2 ms, and each
// page that the worker wrote meanwhile was copied. The descriptors are its own, and all but one are
// closed before anything else: it may hang until another worker answers it, and must not keep what
// that worker needs (the cache's lock) nor what would make it wait for ever (the FUSE connection,
// when all others are gone).
#pragma once

#include <functional>
#include <string>

#include "base/clock.h"
#include "base/error.h"

namespace runnel::engine {

// Runs `calls` and returns what they returned (0 to 255). They make system calls and write into
// what they own, and nothing else, memory allocation included: a lock that a killed process held
// stays locked. They must own all that they use: kUnavailable after `timeout`, and they may then
// still run, even when this process has ended. kUnavailable too when their process dies.
Result<int> run_beside(const std::string& what, Duration timeout, std::function<int()> calls);

}  // namespace runnel::engine
