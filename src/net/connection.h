// One connection to the server: requests in, responses out, one after the other.
//
// Nothing here waits without a deadline except for the handler and its stream. A response that
// cannot be finished as its head announced ends in a reset, so that the peer never takes a part for
// the whole.
#pragma once

#include <boost/asio/any_io_executor.hpp>
#include <boost/asio/generic/stream_protocol.hpp>
#include <functional>
#include <memory>
#include <span>
#include <string>

#include "base/bytes.h"
#include "base/fd.h"
#include "net/request_parser.h"
#include "net/response_head.h"
#include "net/server.h"
#include "net/socket_stream.h"
#include "net/tls_stream.h"
#include "net/watchdog.h"

namespace runnel::net {

// One of the two, chosen when the connection comes.
class AnyStream {
 public:
  AnyStream(int fd, std::unique_ptr<TlsStream> tls) : plain_(fd), tls_(std::move(tls)) {}

  Io read_some(MutableBytes into) { return tls_ ? tls_->read_some(into) : plain_.read_some(into); }
  Io write_some(std::span<const Bytes> pieces, bool more) {
    return tls_ ? tls_->write_some(pieces, more) : plain_.write_some(pieces, more);
  }
  Io send_file_some(int file, uint64_t offset, size_t length) {
    return tls_ ? tls_->send_file_some(file, offset, length)
                : plain_.send_file_some(file, offset, length);
  }
  SocketStream& plain() { return plain_; }
  TlsStream* tls() { return tls_.get(); }
  void leave_tls() { tls_.reset(); }

 private:
  SocketStream plain_;
  std::unique_ptr<TlsStream> tls_;
};
static_assert(Stream<AnyStream>);

// What connections share on one I/O thread.
struct ConnectionContext {
  const Server::Options* options = nullptr;
  Handler* handler = nullptr;
  // Whether a connection may serve another request: false while stopping or crowded.
  std::function<bool()> may_keep_alive;
  std::function<bool()> stopping;
};

// Bound to its executor's one thread.
class Connection final : public std::enable_shared_from_this<Connection> {
 public:
  Connection(const boost::asio::any_io_executor& executor, UniqueFd socket, std::string peer,
             const ConnectionContext& context);

  // Serves until the peer, a deadline or the server ends it. Never throws.
  awaitable<void> run();

  // Ends it now, whatever it does; a handler goes on until it touches the connection.
  void abort(const char* why);
  // Waits for a request that has not begun.
  bool idle() const { return idle_; }
  // Waits for a request after the first, which may never come.
  bool kept() const { return kept_; }

 private:
  class Body;  // net/connection_body.h
  friend class Body;

  // What one connection does before the others of its thread get their turn.
  static constexpr size_t kTurnBytes = 1024 * 1024;

  // connection.cc

  awaitable<Result<void>> serve();
  awaitable<Result<void>> shake_hands();
  awaitable<Result<bool>> read_head();
  awaitable<Result<bool>> serve_request();
  std::optional<Response> ask_at_once(Request& request);
  awaitable<Response> ask(Request& request, RequestBody& body);
  awaitable<Result<void>> refuse(const Refusal& refusal);
  bool may_drain(const Body& body) const;
  awaitable<Result<bool>> drain(Body& body);
  awaitable<void> linger_a_while();

  void reset_at_close();

  // connection_io.cc
  awaitable<Result<void>> send(Response& response, const ResponsePlan& plan);
  Io send_some(const FileRange& range, uint64_t sent);
  awaitable<Result<void>> send_range(const FileRange& range, uint64_t sent);
  awaitable<Result<void>> send_stream(BodyStream& stream, const ResponsePlan& plan);
  awaitable<Result<void>> send_chunk(Bytes bytes, const ResponsePlan& plan);
  Io send_some(std::span<Bytes>& pieces, bool more);
  awaitable<Result<void>> send_all(std::span<Bytes> pieces, bool more = false);

  awaitable<Result<size_t>> receive(MutableBytes into);
  awaitable<Result<bool>> fill_input();

  // connection_wait.cc
  enum class Purpose { kReceive, kSend };
  awaitable<Result<void>> wait_for(Io::Kind want, Purpose purpose);
  awaitable<Result<size_t>> receive_later(MutableBytes into);
  awaitable<void> give_way();

  Bytes input() const { return Bytes(input_).subspan(input_begin_, input_end_ - input_begin_); }
  void consume(size_t bytes);

  boost::asio::generic::stream_protocol::socket socket_;
  AnyStream stream_;
  const std::string peer_;
  const ConnectionContext& context_;
  const Server::Options& options_;
  Watchdog watchdog_;

  Buffer input_;  // [input_begin_, input_end_) was received and not used yet
  size_t input_begin_ = 0;
  size_t input_end_ = 0;
  RequestParser parser_;
  RequestTraits traits_;

  bool idle_ = true;
  bool kept_ = false;
  uint64_t served_ = 0;
  const char* aborted_ = nullptr;  // why
  size_t since_yield_ = 0;
};

}  // namespace runnel::net
