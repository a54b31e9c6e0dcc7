// The bytes of one TLS connection (the server's side), behind the same calls as a plain socket.
//
// A file goes through a buffer and SSL_write: what the kernel could encrypt itself is not used,
// because the kernels that we run on are built without it.
#pragma once

#include <memory>
#include <span>

#include "base/bytes.h"
#include "net/socket_stream.h"

struct ssl_ctx_st;
struct ssl_st;

namespace runnel::net {

// Belongs to its connection's thread, which must come back with the same bytes after kWantRead or
// kWantWrite. Somebody else closes the socket, and makes no call afterwards.
class TlsStream {
 public:
  // Null when there is no memory for it.
  static std::unique_ptr<TlsStream> make(ssl_ctx_st* context, int fd);
  ~TlsStream();

  // To be repeated until it is kDone, before anything else; kEnd when the peer went away. kFailed
  // with errno EPROTO when the peer does not do as TLS says: failure() tells.
  Io handshake();
  // What the last kFailed was about.
  const std::string& failure() const { return failure_; }
  // The peer speaks plain HTTP.
  bool met_http() const { return met_http_; }

  Io read_some(MutableBytes into);
  Io write_some(std::span<const Bytes> pieces, bool more);
  Io send_file_some(int file, uint64_t offset, size_t length);
  // Says that nothing more comes, if that can be said now.
  void say_end();

 private:
  explicit TlsStream(ssl_st* ssl) : ssl_(ssl) {}

  Io outcome(int returned);
  // Writes one record of what is held and `bytes`; `bytes` of the answer are of `bytes`.
  Io write_record(Bytes bytes);

  ssl_st* const ssl_;
  Buffer held_;  // a response's head that waits for its body, to share a record with it
  std::string failure_;
  bool met_http_ = false;
  bool usable_ = true;  // TLS has not failed: it may still say that it ends
};
static_assert(Stream<TlsStream>);

}  // namespace runnel::net
