// A file of JSON lines that grows: the audit log, the access log.
#pragma once

#include <memory>
#include <mutex>
#include <string>

#include "base/error.h"
#include "base/fd.h"

namespace runnel::registry {

// Any thread may call any method; calls write to the file and may block.
class Journal {
 public:
  // Appends to what is there; makes it (mode 0640) when nothing is.
  static Result<std::unique_ptr<Journal>> open(std::string path);

  // One line, whole: several processes may write to one file. What cannot be written is lost, and
  // the program's log says so, once until it works again.
  void append(std::string line);
  // Goes on in the file that has the name now: the other one was moved away.
  void reopen();

 private:
  explicit Journal(std::string path) : path_(std::move(path)) {}
  Result<void> open_locked();

  const std::string path_;
  std::mutex mutex_;
  UniqueFd file_;
  bool failing_ = false;
};

}  // namespace runnel::registry
