// Standard error of a service: takes what fits at once, and makes nobody wait.
//
// Who writes there are the threads that keep deadlines too, and the holder, which answers for a
// worker that does not. A supervisor that reads no more must not stop them, and one that is gone
// must not end them: there SIGPIPE has to be ignored (apps/runnel/stop_signal.h).
//
// O_NONBLOCK would do, but belongs to the open file, which a shell or supervisor has too. So a pipe
// or terminal is opened once more for each line; where that is not allowed, it is asked first
// whether there is room, which another process may take before us. A file is written as files are:
// one on a disk that hangs is waited for.
#pragma once

#include <string>
#include <string_view>

namespace runnel {

// Not thread-safe.
class StandardError {
 public:
  // A line, with its "\n". False: it is lost, all of it. Of a long one the rest may follow only
  // with the next call.
  bool write(std::string_view line);

 private:
  std::string rest_;
};

}  // namespace runnel
