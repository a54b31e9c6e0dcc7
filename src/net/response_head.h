// The head of a response as bytes, and what follows from the request for its framing.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "base/clock.h"
#include "base/error.h"
#include "net/server.h"

namespace runnel::net {

// How the peer learns where the body ends.
enum class Framing {
  kNone,        // the status or the method allows no body
  kLength,      // Content-Length
  kChunked,     // Transfer-Encoding: chunked
  kUntilClose,  // HTTP/1.0 and a stream of unknown length
};

struct ResponsePlan {
  Framing framing = Framing::kLength;
  std::optional<uint64_t> content_length;  // what the head announces
  bool keep_alive = true;
};

struct RequestTraits {
  bool head = false;  // the method is HEAD
  bool http_1_0 = false;
  bool keep_alive = true;  // what peer and server want
};

ResponsePlan plan_response(const Response& response, const RequestTraits& request);

// kInvalid when the handler's status or headers cannot be sent.
Result<void> check_response(const Response& response);

// `date` is an HTTP date. The response was checked.
std::string response_head(const Response& response, const ResponsePlan& plan,
                          const RequestTraits& request, std::string_view date);

// "Sun, 06 Nov 1994 08:49:37 GMT" (RFC 9110, 5.6.7).
std::string http_date(WallTime time);

// "Not Found"; "" for a status without a registered phrase.
std::string_view reason_phrase(int status);

}  // namespace runnel::net
