#include "registry/journal.h"

#include <fcntl.h>

#include "base/log.h"
#include "base/utf8.h"

namespace runnel::registry {

Result<std::unique_ptr<Journal>> Journal::open(std::string path) {
  std::unique_ptr<Journal> made(new Journal(std::move(path)));
  const std::lock_guard lock(made->mutex_);
  RUNNEL_DO(made->open_locked());
  return made;
}

Result<void> Journal::open_locked() {
  UniqueFd file(::open(path_.c_str(), O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC, 0640));
  if (!file) return fail_errno("open {}", path_);
  file_ = std::move(file);
  return {};
}

void Journal::append(std::string line) {
  line = to_utf8(std::move(line));
  line += '\n';
  const std::lock_guard lock(mutex_);
  const auto written = write_all(file_.get(), as_bytes(line));
  if (!written && !failing_) log::error("{}: lines are lost: {}", path_, written.error().message);
  failing_ = !written;
}

void Journal::reopen() {
  const std::lock_guard lock(mutex_);
  const auto opened = open_locked();
  if (!opened) log::error("{}; the file of before is written to", opened.error().message);
}

}  // namespace runnel::registry
