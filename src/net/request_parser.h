// Requests out of bytes, without I/O. The grammar is Beast's; what Beast lets pass and a server
// must not (a missing Host, an unknown transfer coding, an undecodable path) is refused here.
#pragma once

#include <memory>
#include <optional>
#include <string>

#include "base/bytes.h"
#include "base/error.h"
#include "net/server.h"

namespace runnel::net {

// Why a request is refused before a handler sees it.
struct Refusal {
  int status;
  std::string reason;
};

class RequestParser {
 public:
  explicit RequestParser(size_t max_header_bytes);
  ~RequestParser();

  // Forgets everything: the next bytes are a new request.
  void reset();

  struct HeadStep {
    size_t used = 0;  // bytes of the input that are not needed again
    bool done = false;
    std::optional<Refusal> refusal;
  };
  // Takes the next bytes of the head, and none of what follows it. Bytes that were not used must
  // come again with more behind them.
  HeadStep feed_head(Bytes input);

  struct BodyStep {
    size_t used = 0;
    size_t produced = 0;  // bytes put into `into`
    bool done = false;    // the last chunk and the trailers (which are dropped) have been read
  };
  // Takes the next bytes of a chunked body. kInvalid when the framing is broken.
  Result<BodyStep> feed_chunked(Bytes input, MutableBytes into);

  // Of a head that is done:
  // The request without `peer`.
  std::optional<Refusal> take(Request& request);
  bool http_1_0() const;
  bool keep_alive() const;
  bool expects_continue() const;
  bool chunked() const;
  // 0 without a body; meaningless for a chunked one.
  uint64_t content_length() const;

 private:
  struct State;
  std::unique_ptr<State> state_;
};

// Fills `path` and `query` from `target`. kInvalid when it is neither a path, an absolute URL nor
// "*", or cannot be decoded.
Result<void> split_target(Request& request);

}  // namespace runnel::net
