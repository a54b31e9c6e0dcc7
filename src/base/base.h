// base/ holds what every other folder needs and nothing that knows what Runnel does: errors as
// values, bytes and byte order, file descriptors, files that survive power loss, clocks, a thread
// pool, the log.
//
// It does not hold: formats, protocols, anything with a policy, anything used by one folder only.
// Everything here may be called from any thread unless its own comment says otherwise; objects are
// not shared between threads unless their comment says they may be.
#pragma once

#include "base/bytes.h"  // IWYU pragma: export
#include "base/clock.h"  // IWYU pragma: export
#include "base/error.h"  // IWYU pragma: export
#include "base/fd.h"     // IWYU pragma: export
#include "base/log.h"    // IWYU pragma: export
