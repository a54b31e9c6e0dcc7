#include "engine/handover.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <algorithm>
#include <charconv>
#include <cstddef>
#include <cstdlib>
#include <cstring>
#include <string_view>
#include <vector>

#include "base/quote.h"

namespace runnel::engine {

namespace {

constexpr const char* kVariable = "RUNNEL_FDS";
constexpr int kFirstSystemdFd = 3;  // SD_LISTEN_FDS_START
constexpr int kMaxSystemdFds = 64;

std::vector<std::string_view> split(std::string_view text, char separator) {
  std::vector<std::string_view> parts;
  while (!text.empty()) {
    const size_t end = std::min(text.find(separator), text.size());
    parts.push_back(text.substr(0, end));
    text.remove_prefix(std::min(end + 1, text.size()));
  }
  return parts;
}

// -1 when it is none.
int parse_fd(std::string_view text) {
  int fd = -1;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), fd);
  return error == std::errc() && end == text.data() + text.size() ? fd : -1;
}

std::string take_variable(const char* name) {
  const char* value = std::getenv(name);
  if (value == nullptr) return {};
  std::string text = value;
  ::unsetenv(name);
  return text;
}

// Sends one message to the service manager, with a descriptor if `fd` is one.
void notify(std::string message, int fd) {
  const char* path = std::getenv("NOTIFY_SOCKET");
  sockaddr_un address{};
  if (path == nullptr || path[0] == '\0' || std::strlen(path) >= sizeof address.sun_path) return;
  address.sun_family = AF_UNIX;
  std::strcpy(address.sun_path, path);
  if (path[0] == '@') address.sun_path[0] = '\0';  // an abstract socket
  const auto size = static_cast<socklen_t>(offsetof(sockaddr_un, sun_path) + std::strlen(path));
  const UniqueFd socket(::socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0));
  if (!socket) return;
  iovec part{message.data(), message.size()};
  alignas(cmsghdr) char control[CMSG_SPACE(sizeof fd)] = {};
  msghdr header{};
  header.msg_name = &address;
  header.msg_namelen = size;
  header.msg_iov = &part;
  header.msg_iovlen = 1;
  if (fd >= 0) {
    header.msg_control = control;
    header.msg_controllen = sizeof control;
    cmsghdr* rights = CMSG_FIRSTHDR(&header);
    rights->cmsg_level = SOL_SOCKET;
    rights->cmsg_type = SCM_RIGHTS;
    rights->cmsg_len = CMSG_LEN(sizeof fd);
    std::memcpy(CMSG_DATA(rights), &fd, sizeof fd);
  }
  (void)::sendmsg(socket.get(), &header, MSG_NOSIGNAL);
}

}  // namespace

Result<Handover> Handover::inherited() {
  Handover handover;
  const auto add = [&](std::string_view name, int fd) -> Result<void> {
    if (fd < 0 || name.empty() || ::fcntl(fd, F_SETFD, FD_CLOEXEC) != 0) {
      return fail(Code::kInvalid, "{} is no descriptor that was handed over", quote(name));
    }
    handover.add(std::string(name), UniqueFd(fd));
    return {};
  };
  const auto pid = take_variable("LISTEN_PID");
  const auto count = parse_fd(take_variable("LISTEN_FDS"));
  const auto listen_names = take_variable("LISTEN_FDNAMES");
  const auto names = split(listen_names, ':');
  if (pid == std::to_string(::getpid()) && count > 0 && count <= kMaxSystemdFds) {
    for (int i = 0; i < count && static_cast<size_t>(i) < names.size(); ++i) {
      RUNNEL_DO(add(names[static_cast<size_t>(i)], kFirstSystemdFd + i));
    }
  }
  const auto text = take_variable(kVariable);
  for (const auto part : split(text, ',')) {
    const size_t equals = std::min(part.find('='), part.size());
    RUNNEL_DO(
        add(part.substr(0, equals), parse_fd(part.substr(std::min(equals + 1, part.size())))));
  }
  return handover;
}

UniqueFd Handover::take(const std::string& name) {
  auto found = fds_.extract(name);
  return found.empty() ? UniqueFd() : std::move(found.mapped());
}

int Handover::get(const std::string& name) const {
  const auto found = fds_.find(name);
  return found == fds_.end() ? -1 : found->second.get();
}

void Handover::drop_others(std::string_view prefix, const std::set<std::string>& wanted) {
  std::erase_if(fds_, [&](const auto& each) {
    return each.first.starts_with(prefix) && !wanted.contains(each.first);
  });
}

Result<void> Handover::prepare_exec() const {
  std::string text;
  for (const auto& [name, fd] : fds_) {
    if (::fcntl(fd.get(), F_SETFD, 0) != 0) return fail_errno("keep descriptor {}", name);
    text += fmt::format("{}{}={}", text.empty() ? "" : ",", name, fd.get());
  }
  if (::setenv(kVariable, text.c_str(), 1) != 0) return fail_errno("setenv {}", kVariable);
  return {};
}

void Handover::store_with_systemd() const {
  for (const auto& [name, fd] : fds_) notify(fmt::format("FDSTORE=1\nFDNAME={}", name), fd.get());
}

void Handover::remove_from_systemd() const {
  for (const auto& [name, fd] : fds_) notify(fmt::format("FDSTOREREMOVE=1\nFDNAME={}", name), -1);
}

}  // namespace runnel::engine
