#include "net/listener.h"

#include <arpa/inet.h>
#include <fcntl.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include <charconv>
#include <cstring>
#include <memory>

#include "net/url.h"

namespace runnel::net {

namespace {

constexpr int kBacklog = 1024;
constexpr std::string_view kUnixPrefix = "unix:";
constexpr std::string_view kFdPrefix = "fd:";

std::string shown(const std::string& address, uint16_t port) {
  return HostPort{address.empty() ? "*" : address, port}.text();
}

std::unexpected<Error> cannot_listen(const std::string& where, int error) {
  if (error == EADDRINUSE)
    return fail(Code::kConflict,
                "cannot listen on {}: another process does; stop it or configure another port",
                where);
  return std::unexpected(system_error(error, "listen on " + where));
}

Result<UniqueFd> listen_on(const sockaddr* address, socklen_t size, const std::string& where) {
  UniqueFd fd(::socket(address->sa_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
  if (!fd) return fail_errno("listen on {}", where);
  const int on = 1;
  ::setsockopt(fd.get(), SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
  if (::bind(fd.get(), address, size) != 0) return cannot_listen(where, errno);
  if (::listen(fd.get(), kBacklog) != 0) return cannot_listen(where, errno);
  return fd;
}

Result<UniqueFd> listen_tcp(const std::string& address, uint16_t port) {
  const std::string where = shown(address, port);
  addrinfo hints{};
  hints.ai_family = AF_UNSPEC;
  hints.ai_socktype = SOCK_STREAM;
  hints.ai_flags = AI_PASSIVE | AI_NUMERICSERV;
  addrinfo* found = nullptr;
  const auto service = std::to_string(port);
  const int error =
      ::getaddrinfo(address.empty() ? nullptr : address.c_str(), service.c_str(), &hints, &found);
  if (error != 0)
    return fail(Code::kInvalid, "cannot listen on {}: {}", where, ::gai_strerror(error));
  const std::unique_ptr<addrinfo, decltype(&::freeaddrinfo)> all(found, &::freeaddrinfo);
  // Without an address, prefer IPv6, whose socket takes IPv4 too.
  const addrinfo* chosen = found;
  for (const addrinfo* each = found; each && address.empty(); each = each->ai_next)
    if (each->ai_family == AF_INET6) chosen = each;
  auto fd = listen_on(chosen->ai_addr, chosen->ai_addrlen, where);
  // A machine without IPv6.
  if (!fd && address.empty() && chosen != found)
    fd = listen_on(found->ai_addr, found->ai_addrlen, where);
  return fd;
}

// Whether somebody answers at that path.
bool is_alive(const sockaddr_un& address) {
  const UniqueFd probe(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
  return probe &&
         ::connect(probe.get(), reinterpret_cast<const sockaddr*>(&address), sizeof address) == 0;
}

Result<UniqueFd> inherited_listener(const std::string& text) {
  int number = -1;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), number);
  int listening = 0;
  socklen_t size = sizeof listening;
  if (error != std::errc() || end != text.data() + text.size() ||
      ::getsockopt(number, SOL_SOCKET, SO_ACCEPTCONN, &listening, &size) != 0 || listening == 0) {
    return fail(Code::kInvalid, "descriptor \"{}\" is no listening socket", text);
  }
  UniqueFd copy(::fcntl(number, F_DUPFD_CLOEXEC, 0));
  if (!copy) return fail_errno("duplicate descriptor {}", number);
  return copy;
}

Result<UniqueFd> listen_unix(const std::string& path) {
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  if (path.empty() || path.size() >= sizeof address.sun_path)
    return fail(Code::kInvalid, "socket path \"{}\" is empty or longer than {} bytes", path,
                sizeof address.sun_path - 1);
  std::memcpy(address.sun_path, path.c_str(), path.size());
  struct stat found{};
  if (::lstat(path.c_str(), &found) == 0) {
    if (!S_ISSOCK(found.st_mode))
      return fail(Code::kConflict, "cannot listen on {}: it exists and is not a socket", path);
    if (is_alive(address)) return cannot_listen(path, EADDRINUSE);
    if (::unlink(path.c_str()) != 0) return fail_errno("remove stale socket {}", path);
  }
  UniqueFd fd(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
  if (!fd) return fail_errno("listen on {}", path);
  // bind(2) makes the file with the mode of the socket: nobody else gets in, not even for a moment.
  ::fchmod(fd.get(), 0600);
  if (::bind(fd.get(), reinterpret_cast<const sockaddr*>(&address), sizeof address) != 0)
    return cannot_listen(path, errno);
  if (::listen(fd.get(), kBacklog) != 0) return cannot_listen(path, errno);
  return fd;
}

std::string peer_name(int socket, const sockaddr_storage& address) {
  char text[INET6_ADDRSTRLEN] = "";
  if (address.ss_family == AF_INET) {
    const auto& v4 = reinterpret_cast<const sockaddr_in&>(address);
    ::inet_ntop(AF_INET, &v4.sin_addr, text, sizeof text);
    return HostPort{text, ntohs(v4.sin_port)}.text();
  }
  if (address.ss_family == AF_INET6) {
    const auto& v6 = reinterpret_cast<const sockaddr_in6&>(address);
    ::inet_ntop(AF_INET6, &v6.sin6_addr, text, sizeof text);
    const std::string_view host = text;
    const std::string_view mapped = "::ffff:";
    const bool v4 = host.starts_with(mapped) && host.contains('.');
    return HostPort{std::string(v4 ? host.substr(mapped.size()) : host), ntohs(v6.sin6_port)}
        .text();
  }
  ucred credentials{};
  socklen_t size = sizeof credentials;
  ::getsockopt(socket, SOL_SOCKET, SO_PEERCRED, &credentials, &size);
  return "uid " + std::to_string(credentials.uid);
}

}  // namespace

Result<UniqueFd> open_listener(const std::string& address, uint16_t port) {
  if (address.starts_with(kFdPrefix)) return inherited_listener(address.substr(kFdPrefix.size()));
  if (address.starts_with(kUnixPrefix)) return listen_unix(address.substr(kUnixPrefix.size()));
  return listen_tcp(address, port);
}

uint16_t local_port(int socket) {
  sockaddr_storage address{};
  socklen_t size = sizeof address;
  ::getsockname(socket, reinterpret_cast<sockaddr*>(&address), &size);
  if (address.ss_family == AF_INET)
    return ntohs(reinterpret_cast<const sockaddr_in&>(address).sin_port);
  if (address.ss_family == AF_INET6)
    return ntohs(reinterpret_cast<const sockaddr_in6&>(address).sin6_port);
  return 0;
}

Accepted accept_one(int listener) {
  Accepted accepted;
  sockaddr_storage address{};
  socklen_t size = sizeof address;
  accepted.socket = UniqueFd(::accept4(listener, reinterpret_cast<sockaddr*>(&address), &size,
                                       SOCK_NONBLOCK | SOCK_CLOEXEC));
  if (!accepted.socket) {
    accepted.error = errno;
    return accepted;
  }
  const int on = 1;
  if (address.ss_family != AF_UNIX)
    ::setsockopt(accepted.socket.get(), IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
  accepted.peer = peer_name(accepted.socket.get(), address);
  return accepted;
}

}  // namespace runnel::net
