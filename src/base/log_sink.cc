#include "base/log_sink.h"

#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include <cstdlib>

namespace runnel::log {

bool stderr_is_journal() {
  const char* stream = std::getenv("JOURNAL_STREAM");
  struct stat info;
  if (stream == nullptr || ::fstat(STDERR_FILENO, &info) != 0) return false;
  return fmt::format("{}:{}", info.st_dev, info.st_ino) == stream;
}

Sink::Sink(Format format, std::string journal)
    : format_(format), journal_(std::move(journal)), prefix_(stderr_is_journal()) {
  if (format_ == Format::kAuto) format_ = prefix_ ? Format::kJournal : Format::kText;
  if (format_ == Format::kJournal) {
    socket_ = UniqueFd(::socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
  }
}

bool Sink::send_to_journal(const Line& line) {
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  if (!socket_ || journal_.size() >= sizeof address.sun_path) return false;
  journal_.copy(address.sun_path, journal_.size());
  const auto entry = as_journal_entry(line);
  const auto sent = ::sendto(socket_.get(), entry.data(), entry.size(), MSG_NOSIGNAL,
                             reinterpret_cast<const sockaddr*>(&address), sizeof address);
  return sent == static_cast<ssize_t>(entry.size());
}

bool Sink::put(const Line& line, WallTime time) {
  switch (format_) {
    case Format::kJournal:
      if (send_to_journal(line)) return true;
      break;
    case Format::kJson: return standard_error_.write(as_json_line(line, time));
    case Format::kText:
    case Format::kAuto: break;
  }
  return standard_error_.write(prefix_ ? as_prefixed_line(line) : as_text_line(line, time));
}

bool Sink::tell_lost(WallTime time) {
  if (lost_ == 0) return true;
  const Line line{.level = Level::kWarning,
                  .message = fmt::format("{} lines of the log are lost: nobody took them", lost_),
                  .fields = {}};
  if (!put(line, time)) return false;
  lost_ = 0;
  return true;
}

void Sink::write(const Line& line, WallTime time) {
  if (!tell_lost(time) || !put(line, time)) ++lost_;
}

}  // namespace runnel::log
