#include "net/socket_stream.h"

#include <sys/sendfile.h>
#include <sys/socket.h>
#include <sys/uio.h>

#include <algorithm>
#include <array>
#include <cerrno>

namespace runnel::net {

namespace {

bool would_block(int error) {
  return error == EAGAIN || error == EWOULDBLOCK;
}

Io failed_or(Io::Kind want) {
  if (would_block(errno)) return {.kind = want};
  return {.kind = Io::Kind::kFailed, .error = errno};
}

// A call that a signal interrupted is made again.
template <class Call>
ssize_t retried(Call call) {
  ssize_t outcome;
  do {
    outcome = call();
  } while (outcome < 0 && errno == EINTR);
  return outcome;
}

}  // namespace

Io SocketStream::read_some(MutableBytes into) {
  const auto got = retried([&] { return ::recv(fd_, into.data(), into.size(), 0); });
  if (got < 0) return failed_or(Io::Kind::kWantRead);
  if (got == 0) return {.kind = Io::Kind::kEnd};
  return {.bytes = static_cast<size_t>(got)};
}

Io SocketStream::write_some(std::span<const Bytes> pieces, bool more) {
  std::array<iovec, 4> vectors;
  RUNNEL_CHECK(pieces.size() <= vectors.size());
  std::ranges::transform(pieces, vectors.begin(), [](Bytes piece) {
    return iovec{const_cast<std::byte*>(piece.data()), piece.size()};
  });
  msghdr message{};
  message.msg_iov = vectors.data();
  message.msg_iovlen = pieces.size();
  const int flags = MSG_NOSIGNAL | (more ? MSG_MORE : 0);
  const auto sent = retried([&] { return ::sendmsg(fd_, &message, flags); });
  if (sent < 0) return failed_or(Io::Kind::kWantWrite);
  return {.bytes = static_cast<size_t>(sent)};
}

Io SocketStream::send_file_some(int file, uint64_t offset, size_t length) {
  auto position = static_cast<off_t>(offset);
  const auto sent = retried([&] { return ::sendfile(fd_, file, &position, length); });
  if (sent < 0) return failed_or(Io::Kind::kWantWrite);
  if (sent == 0) return {.kind = Io::Kind::kEnd};
  return {.bytes = static_cast<size_t>(sent)};
}

}  // namespace runnel::net
