// One kept HTTP/1.1 connection of the load generator: a request goes out, its answer comes in.
//
// It must cost less than what it measures. Bodies of answers are counted, not looked at: on a plain
// connection they do not even leave the kernel (MSG_TRUNC). What servers answer is verified once by
// whoever starts the generator; here only status and length are.
#pragma once

#include <cstdint>
#include <memory>
#include <string>

#include "base/bytes.h"
#include "base/error.h"
#include "base/fd.h"

struct ssl_ctx_st;
struct ssl_st;

namespace runnel::bench {

struct Outgoing {
  std::string head;        // with its empty line
  Bytes block;             // the body is this, again and again,
  uint64_t body_size = 0;  // until it has this many bytes
  bool head_only = false;  // HEAD: the answer has no body
};

struct Answer {
  int status = 0;
  std::string location;
  uint64_t body_size = 0;
};

// Bound to one thread. The caller waits for the socket, edge-triggered, and calls advance().
class LoadConnection {
 public:
  // To 127.0.0.1. `tls` may be null, and outlives the connection.
  static Result<std::unique_ptr<LoadConnection>> open(uint16_t port, ssl_ctx_st* tls);
  ~LoadConnection();

  int fd() const { return socket_.get(); }
  // Sends at once what the socket takes. The last answer is complete, or there was none.
  Result<void> begin(Outgoing request);
  // Goes on as far as the socket lets it. True when the answer is complete.
  Result<bool> advance();
  const Answer& answer() const { return answer_; }

 private:
  enum class Moved { kSome, kNothing };

  LoadConnection(UniqueFd socket, ssl_st* tls) : socket_(std::move(socket)), tls_(tls) {}

  Result<void> send();
  Result<Moved> send_some(Bytes bytes, bool more, uint64_t& sent);
  Result<Moved> receive_some(MutableBytes into, bool discard, size_t& count);
  Result<bool> take_head();
  Result<void> parse_head(std::string_view head);

  const UniqueFd socket_;
  ssl_st* const tls_;
  Outgoing request_;
  uint64_t head_sent_ = 0;
  uint64_t body_sent_ = 0;
  std::string input_;  // of the head
  bool in_body_ = false;
  bool complete_ = true;
  uint64_t body_left_ = 0;
  Answer answer_;
};

}  // namespace runnel::bench
