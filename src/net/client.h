// An HTTP client: many transfers at once over pooled keep-alive connections, driven by one thread.
//
// Three ways to call it: start() with callbacks, fetch() that blocks, open() for coroutines. Each
// is bounded: the time to connect, the time without a byte, the head's size. HTTP/1.1 only (several
// connections to a registry are faster than one, and a paused body cannot hold up another), no
// cookies, no decoding of content: the bytes are what the peer stored.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <variant>
#include <vector>

#include "base/bytes.h"
#include "base/clock.h"
#include "base/error.h"
#include "base/fd.h"
#include "net/body.h"
#include "net/headers.h"
#include "net/tls.h"

namespace runnel::net {

// A body that is read from a file while it is sent.
using UploadFile = FileRange;

struct ClientRequest {
  ClientRequest() = default;
  explicit ClientRequest(std::string u) : url(std::move(u)) {}
  ClientRequest(std::string m, std::string u) : method(std::move(m)), url(std::move(u)) {}

  std::string method = "GET";
  std::string url;  // http or https, without user information
  Headers headers;  // Content-Length, Transfer-Encoding, Connection and Expect are the client's
  // For the request's own scheme, host and port only, like credentials; one of the same name in
  // `headers` goes before.
  Headers origin_headers;
  std::variant<std::monostate, std::string, UploadFile> body;
  std::string unix_socket;  // not empty: connect to this path instead of the URL's host
  Duration connect_timeout = std::chrono::seconds(10);  // name, TCP and TLS
  // No byte in either direction for so long, the wait for the answer after an upload included.
  Duration stall_timeout = std::chrono::seconds(30);
  Duration total_timeout = Duration::zero();  // zero: none
  std::shared_ptr<const TlsSettings> tls;     // null: as Client::Options say
  // 0: a redirect is an answer like any other. Credentials (Authorization, Cookie) go to the
  // request's own scheme, host and port only, and so does our certificate; https is never left
  // for http.
  int max_redirects = 5;
};

struct ResponseHead {
  ResponseHead() = default;

  int status = 0;
  Headers headers;
  std::string url;  // after redirects; its query may be a secret
};

// Gets a response while it arrives, on the client's thread: must not block. An error that it
// returns ends the transfer with that error.
class ResponseSink {
 public:
  virtual ~ResponseSink() = default;
  // Once, before any data; never for a redirect that is followed.
  virtual Result<void> head(const ResponseHead&) { return {}; }
  virtual Result<void> data(Bytes) { return {}; }
  // False pauses the transfer (and its stall timeout) until Client::resume.
  virtual bool wants_more() { return true; }
};

struct BufferedResponse {
  BufferedResponse() = default;

  ResponseHead head;
  Buffer body;
};

struct OpenedResponse {
  OpenedResponse() = default;

  ResponseHead head;
  std::unique_ptr<BodyStream> body;
};

// Any thread may call any method; the blocking ones not the client's own (from a sink or Done).
//
// Errors: kUnavailable for all that happens on the way (name, connection, TLS, a stall, a body
// shorter than announced, a malformed head), kInvalid for a request that cannot be sent, kCancelled
// after cancel() or the client's end. (A body that the peer gave neither a length nor chunks ends
// where the connection does: only its reader can tell whether it is whole.) Messages name the URL
// without its query. A status is never an error here.
class Client {
 public:
  struct Options {
    Options() = default;

    std::string ca_file;  // PEM, besides the system's; "" for none
    // Hosts ("host" or "host:port") whose certificate is not checked.
    std::vector<std::string> insecure_hosts;
    size_t max_connections_per_host = 32;
    // How long a transfer waits for one of these to be free.
    Duration queue_timeout = std::chrono::minutes(5);
    std::string user_agent;  // "": "runnel/<version>"
  };

  using Done = std::function<void(Result<ResponseHead>)>;

  Client();
  explicit Client(Options options);
  // shutdown().
  ~Client();

  // Returns at once. `done` is called exactly once, on the client's thread (but for shutdown()),
  // after the last call of the sink; a request that cannot be sent comes back through it too.
  uint64_t start(ClientRequest request, std::shared_ptr<ResponseSink> sink, Done done);
  // Ends the transfer with kCancelled; nothing happens when it has ended already.
  void cancel(uint64_t transfer);
  // Goes on with a transfer whose sink did not want more.
  void resume(uint64_t transfer);
  // Ends every transfer with kCancelled; one that is started later ends at once, on the thread that
  // starts it. For who waits for the network when a process ends.
  void shutdown();
  // Blocks for so long, or until shutdown(): between two attempts. False after that.
  bool rest(Duration time);

  // kExhausted when the body is larger than `body_limit`.
  Result<BufferedResponse> fetch(ClientRequest request, size_t body_limit);

  // Returns when the head is there; the body follows as it is read, with at most some 300 KiB in
  // memory. Destroying the stream cancels the transfer. The stream may outlive the client; its
  // reads then fail.
  awaitable<Result<OpenedResponse>> open(ClientRequest request);

 private:
  class Impl;
  std::shared_ptr<Impl> impl_;
};

}  // namespace runnel::net
