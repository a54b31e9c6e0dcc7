#include "base/log_sink.h"

#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include <cerrno>
#include <cstdlib>

namespace runnel::log {

namespace {

// One write(2) for a line, so that lines of two processes do not mix.
void write_stderr(const std::string& text) {
  size_t done = 0;
  while (done < text.size()) {
    const auto count = ::write(STDERR_FILENO, text.data() + done, text.size() - done);
    if (count < 0 && errno == EINTR) continue;
    if (count <= 0) return;  // nobody is left to tell
    done += static_cast<size_t>(count);
  }
}

}  // namespace

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

void Sink::write(const Line& line, WallTime time) {
  switch (format_) {
    case Format::kJournal:
      if (send_to_journal(line)) return;
      break;
    case Format::kJson: return write_stderr(as_json_line(line, time));
    case Format::kText:
    case Format::kAuto: break;
  }
  write_stderr(prefix_ ? as_prefixed_line(line) : as_text_line(line, time));
}

}  // namespace runnel::log
