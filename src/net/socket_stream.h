// The bytes of one connection, without waiting: every call does what is possible now and says what
// it would wait for. TLS fits behind the same calls (SSL_read and SSL_write on a non-blocking
// descriptor want either direction, and have their own way to send a file).
#pragma once

#include <concepts>
#include <span>

#include "base/bytes.h"
#include "base/error.h"

namespace runnel::net {

// What became of one attempt.
struct Io {
  enum class Kind { kDone, kEnd, kWantRead, kWantWrite, kFailed };

  Kind kind = Kind::kDone;
  size_t bytes = 0;  // with kDone
  int error = 0;     // errno, with kFailed
};

template <class T>
concept Stream = requires(T& stream, MutableBytes into, std::span<const Bytes> pieces, int file) {
  { stream.read_some(into) } -> std::same_as<Io>;
  // `more`: further bytes follow at once, so a packet need not leave yet.
  { stream.write_some(pieces, true) } -> std::same_as<Io>;
  // kEnd when the file has no bytes at that offset.
  { stream.send_file_some(file, uint64_t{}, size_t{}) } -> std::same_as<Io>;
};

// Plain bytes over a connected, non-blocking socket that somebody else closes.
class SocketStream {
 public:
  explicit SocketStream(int fd) : fd_(fd) {}

  Io read_some(MutableBytes into);
  Io write_some(std::span<const Bytes> pieces, bool more);
  Io send_file_some(int file, uint64_t offset, size_t length);

 private:
  int fd_;
};
static_assert(Stream<SocketStream>);

}  // namespace runnel::net
