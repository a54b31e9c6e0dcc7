// Whether what a command printed has arrived.
//
// Standard output is buffered, so that a full disk often shows only at the flush at the program's
// end, which nobody looks at: `runnel node profile IMAGE > profile.json` would leave an empty file
// and say that all went well.
#pragma once

#include <functional>

namespace runnel {

// Runs the command and returns its exit code. When not all of its output could be written that is
// said on standard error, and success becomes 1. A reader that has gone away, as `| head` does, is
// no failure.
int with_output_checked(const std::function<int()>& command);

}  // namespace runnel
