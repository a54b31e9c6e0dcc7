// Loop devices: what EROFS takes for a device before Linux 6.12, where it cannot use a file.
//
// A loop device over a file that a worker serves can be given another file of the same size while
// it is in use (LOOP_CHANGE_FD, drivers/block/loop.c): what is under way ends with the old file,
// all else is read from the new one, and neither EROFS nor its readers notice.
#pragma once

#include <cstddef>
#include <string>

#include "base/clock.h"
#include "base/error.h"

namespace runnel::engine {

// A read-only loop device over `path` that goes when the last user does; `device` has its path
// then. `direct`: it reads the file past its page cache, and does not wait for one read before it
// begins the next. Returns a descriptor that keeps it, or -1 and errno. Makes system calls only and
// leaves other descriptors open, for it is made for a process of its own (side_process.h).
int attach_loop(const char* path, bool direct, char* device, size_t size);

// The file that the loop device ("loop7") reads, as the kernel names it: absolute, without links.
// Asks the kernel alone, and never the file. kNotFound when it reads none.
Result<std::string> file_behind(const std::string& loop);

struct LoopMove {
  std::string loop;  // "loop7"
  std::string from;  // what file_behind() says
  std::string to;    // of the same size, and with the same bytes
  // Past the page cache of `to`, where that has such reads, and the device was made `direct`.
  bool direct = false;
};
// What the device has asked of `from` is waited for; kUnavailable when that takes longer than
// `timeout`, and it may then still move. kConflict when it reads something else by now.
Result<void> move_loop(const LoopMove& move, Duration timeout);

}  // namespace runnel::engine
