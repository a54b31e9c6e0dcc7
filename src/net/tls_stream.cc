#include "net/tls_stream.h"

#include <openssl/err.h>
#include <openssl/ssl.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>

namespace runnel::net {

namespace {

// The largest record of TLS (RFC 8446, 5.1).
constexpr size_t kRecord = 16 * 1024;
// What may wait for a body, so that there is room for some of it in the record.
constexpr size_t kMaxHeld = 8 * 1024;
constexpr size_t kFilePiece = 8 * kRecord;

// All connections of a thread write through the same memory: what is in it is used up before the
// call returns.
template <size_t Size>
std::array<std::byte, Size>& scratch() {
  thread_local std::array<std::byte, Size> memory;
  return memory;
}

// The next outcome is about the next call.
void forget_errors() {
  errno = 0;
  ERR_clear_error();
}

size_t total(std::span<const Bytes> pieces) {
  size_t size = 0;
  for (const auto piece : pieces) size += piece.size();
  return size;
}

}  // namespace

std::unique_ptr<TlsStream> TlsStream::make(ssl_ctx_st* context, int fd) {
  SSL* ssl = SSL_new(context);
  if (ssl == nullptr) return nullptr;
  std::unique_ptr<TlsStream> made(new TlsStream(ssl));
  if (SSL_set_fd(ssl, fd) != 1) return nullptr;
  SSL_set_accept_state(ssl);
  return made;
}

TlsStream::~TlsStream() {
  SSL_free(ssl_);
}

Io TlsStream::handshake() {
  forget_errors();
  return outcome(SSL_do_handshake(ssl_));
}

Io TlsStream::read_some(MutableBytes into) {
  forget_errors();
  const auto size = static_cast<int>(std::min<size_t>(into.size(), 1 << 20));
  return outcome(SSL_read(ssl_, into.data(), size));
}

Io TlsStream::write_some(std::span<const Bytes> pieces, bool more) {
  const auto size = total(pieces);
  if (more && held_.size() + size <= kMaxHeld) {
    for (const auto piece : pieces) held_.insert(held_.end(), piece.begin(), piece.end());
    return {.bytes = size};
  }
  if (pieces.size() == 1 && held_.empty()) return write_record(pieces[0]);
  auto& memory = scratch<kRecord>();
  size_t filled = 0;
  for (const auto piece : pieces) {
    const auto part = piece.first(std::min(piece.size(), memory.size() - filled));
    std::ranges::copy(part, memory.begin() + static_cast<ptrdiff_t>(filled));
    filled += part.size();
  }
  return write_record(Bytes(memory).first(filled));
}

Io TlsStream::send_file_some(int file, uint64_t offset, size_t length) {
  auto& memory = scratch<kFilePiece>();
  const auto wanted = std::min(length, memory.size());
  ssize_t got;
  do {
    got = ::pread(file, memory.data(), wanted, static_cast<off_t>(offset));
  } while (got < 0 && errno == EINTR);
  if (got < 0) return {.kind = Io::Kind::kFailed, .error = errno};
  if (got == 0) return {.kind = Io::Kind::kEnd};
  const auto bytes = Bytes(memory).first(static_cast<size_t>(got));
  size_t sent = 0;
  while (sent < bytes.size()) {
    const auto io = write_record(bytes.subspan(sent));
    if (io.kind != Io::Kind::kDone) return sent > 0 ? Io{.bytes = sent} : io;
    sent += io.bytes;
  }
  return {.bytes = sent};
}

Io TlsStream::write_record(Bytes bytes) {
  Bytes record = bytes.first(std::min(bytes.size(), kRecord));
  if (!held_.empty()) {
    auto& memory = scratch<kRecord + 1>();  // not the one that `bytes` may be in
    std::ranges::copy(held_, memory.begin());
    record = record.first(std::min(record.size(), kRecord - held_.size()));
    std::ranges::copy(record, memory.begin() + static_cast<ptrdiff_t>(held_.size()));
    record = Bytes(memory).first(held_.size() + record.size());
  }
  forget_errors();
  auto io = outcome(SSL_write(ssl_, record.data(), static_cast<int>(record.size())));
  if (io.kind != Io::Kind::kDone) return io;
  const auto from_held = std::min(io.bytes, held_.size());
  held_.erase(held_.begin(), held_.begin() + static_cast<ptrdiff_t>(from_held));
  io.bytes -= from_held;
  return io;
}

void TlsStream::say_end() {
  if (!usable_ || SSL_is_init_finished(ssl_) == 0) return;
  forget_errors();
  SSL_shutdown(ssl_);
}

Io TlsStream::outcome(int returned) {
  if (returned > 0) return {.bytes = static_cast<size_t>(returned)};
  const int system = errno;
  switch (SSL_get_error(ssl_, returned)) {
    case SSL_ERROR_WANT_READ: return {.kind = Io::Kind::kWantRead};
    case SSL_ERROR_WANT_WRITE: return {.kind = Io::Kind::kWantWrite};
    case SSL_ERROR_ZERO_RETURN: return {.kind = Io::Kind::kEnd};
    case SSL_ERROR_SYSCALL:
      usable_ = false;
      if (system == 0) return {.kind = Io::Kind::kEnd};
      failure_ = "the connection broke";
      return {.kind = Io::Kind::kFailed, .error = system};
    default: break;
  }
  usable_ = false;
  const auto error = ERR_peek_error();
  met_http_ = ERR_GET_LIB(error) == ERR_LIB_SSL && ERR_GET_REASON(error) == SSL_R_HTTP_REQUEST;
  const char* reason = ERR_reason_error_string(error);
  failure_ = reason != nullptr ? reason : "TLS failed";
  return {.kind = Io::Kind::kFailed, .error = EPROTO};
}

}  // namespace runnel::net
