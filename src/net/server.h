// An HTTP/1.1 server: what the registry, the mirror and the metrics page answer through.
//
// Each I/O thread has its own event loop and connections stay on one; a Handler is a coroutine on
// that thread. Blocking work goes through on_pool() (net/async.h), large bodies are streams or file
// ranges (net/body.h), so that one thread serves thousands of connections.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <variant>

#include "base/clock.h"
#include "base/error.h"
#include "net/async.h"
#include "net/body.h"
#include "net/headers.h"
#include "net/url.h"

namespace runnel::net {

class ServerTls;

struct Request {
  Request() = default;

  std::string method;  // as sent: "GET"
  std::string target;  // as sent: "/v2/a%2Fb/tags/list?n=1"
  std::string path;    // decoded, without the query: "/v2/a/b/tags/list"
  Query query;
  Headers headers;
  std::string peer;  // "192.0.2.1:1234"; "uid 0" for a Unix socket
  // When its head was complete. Whatever was acknowledged to anybody before that, the answer must
  // know of: a look at the state that was made later may serve this request too. (Of one that no
  // server received, never.)
  SteadyTime received_at = SteadyTime::max();
  // Who asks, once the handler has found out: for logs of requests.
  std::string principal;
};

// The request's body, in the order in which it arrives.
class RequestBody {
 public:
  virtual ~RequestBody() = default;
  // Fills at least one byte of `into` (which is not empty), or returns 0 at the end. kUnavailable
  // when the peer went away or stalled in mid-body, kInvalid when it broke the framing: the body is
  // then incomplete and nothing of it may be kept. The first read answers "Expect: 100-continue".
  virtual awaitable<Result<size_t>> read(MutableBytes into) = 0;
  // Absent for a chunked body; 0 when there is none.
  virtual std::optional<uint64_t> content_length() const = 0;
};

struct Response {
  using Body = std::variant<std::string, FileRange, std::unique_ptr<BodyStream>>;

  Response() = default;
  explicit Response(int s) : status(s) {}
  Response(int s, Headers h, Body b = std::string(), std::optional<uint64_t> length = std::nullopt)
      : status(s), headers(std::move(h)), body(std::move(b)), content_length(length) {}

  int status = 200;
  // Content-Length, Transfer-Encoding, Connection and Date are the server's to write, not Server.
  Headers headers;
  Body body;
  // For a stream: its length; without one it is sent chunked. In the answer to a HEAD request: the
  // length that GET would have, when the body here is left empty. Ignored otherwise.
  std::optional<uint64_t> content_length;
};

class Handler {
 public:
  virtual ~Handler() = default;
  // Called from any of the server's threads, several times at once; must not block. Both arguments
  // live until it has returned. A stream in the Response is read afterwards, and must not use them.
  // HEAD is asked like GET: the server leaves the body out. An exception becomes 500 and is logged.
  virtual awaitable<Response> handle(Request& request, RequestBody& body) = 0;
  // Asked before handle(), which is not called then: the answer to a request that needs neither its
  // body nor to wait for anything. A coroutine would cost more than such an answer. The rest as
  // above.
  virtual std::optional<Response> answer_at_once(Request& /*request*/) { return std::nullopt; }
};

// Any thread may call any method.
class Server {
 public:
  struct Options {
    Options() = default;

    // An IP address, "localhost", "" for every address, or "unix:/path" (mode 0600).
    std::string address = "127.0.0.1";
    uint16_t port = 0;     // 0: any free one
    unsigned threads = 0;  // 0: one a core
    size_t max_header_bytes = 32 * 1024;
    // Beyond these, clients wait in the kernel's queue, and no connection is kept alive.
    size_t max_connections = 4096;
    Duration idle_timeout = std::chrono::seconds(75);        // between two requests
    Duration header_timeout = std::chrono::seconds(15);      // for the whole head of a request
    Duration body_stall_timeout = std::chrono::seconds(30);  // no byte in either direction
    // What is read of a body that the handler left, to keep the connection for the next request.
    uint64_t drain_limit = 256 * 1024;
    // TLS, with this certificate; null: plain HTTP.
    std::shared_ptr<const ServerTls> tls;
    // How long stop() lets running requests go on.
    Duration stop_grace = std::chrono::seconds(2);
  };

  // Listens and serves from now on. kConflict when the port is in use. `handler` must outlive the
  // server.
  static Result<std::unique_ptr<Server>> listen(Options options, Handler& handler);
  // stop(), then waits for handlers that still run.
  ~Server();

  uint16_t port() const;
  // Takes no new connections, closes the idle ones, gives requests in progress stop_grace, then
  // cuts them. Returns soon after at the latest; a handler that still waits for something of its
  // own is then left to the destructor.
  void stop();

 private:
  class Impl;
  explicit Server(std::unique_ptr<Impl> impl);
  std::unique_ptr<Impl> impl_;
};

}  // namespace runnel::net
