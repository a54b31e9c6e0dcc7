// Where lines of the log go. Internal to the log.
#pragma once

#include <cstdint>
#include <string>

#include "base/fd.h"
#include "base/log_line.h"
#include "base/standard_error.h"

namespace runnel::log {

// Whether standard error is a stream of systemd's journal: $JOURNAL_STREAM names its device and
// inode (systemd.exec(5)).
bool stderr_is_journal();

// Writes to systemd's journal, or to standard error. Not thread-safe.
//
// Not libsystemd's sd_journal_send(): that waits while the journal is busy, and the threads that
// keep deadlines write lines too. A line that the journal does not take at once goes to standard
// error, and one that this does not take either is lost and counted.
class Sink {
 public:
  // kAuto is decided here. `journal` is the journal's socket.
  explicit Sink(Format format, std::string journal = "/run/systemd/journal/socket");

  void write(const Line& line, WallTime time);
  // Says how many lines were lost, if any were. False when that is not taken either.
  bool tell_lost(WallTime time);

 private:
  bool put(const Line& line, WallTime time);
  bool send_to_journal(const Line& line);

  Format format_;
  const std::string journal_;
  bool prefix_;  // standard error goes to systemd, which wants "<4>"
  UniqueFd socket_;
  StandardError standard_error_;
  uint64_t lost_ = 0;  // lines, since it was said how many
};

}  // namespace runnel::log
