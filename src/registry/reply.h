// Answers of the distribution API: a response, or a refusal with one of the API's error codes.
#pragma once

#include <cstdint>
#include <expected>
#include <string>
#include <string_view>

#include "base/error.h"
#include "net/headers.h"
#include "net/server.h"

namespace runnel::registry {

// An answer that is an error: an HTTP status, and what the body says. Made from an Error when
// something failed that the client cannot know about; so RUNNEL_TRY works in functions that return
// an Answer.
struct Refusal {
  Refusal(int http_status, std::string_view error_code, std::string error_message)
      : status(http_status), code(error_code), message(std::move(error_message)) {}
  Refusal(const Error& error);  // NOLINT: implicit on purpose

  int status;
  std::string code;  // "BLOB_UNKNOWN", …
  std::string message;
  std::string detail;    // JSON of the "detail" member; empty for none
  net::Headers headers;  // besides those of every error
};

using Answer = std::expected<net::Response, Refusal>;

// return refuse(404, "BLOB_UNKNOWN", "…");
inline std::unexpected<Refusal> refuse(int status, std::string_view code, std::string message) {
  return std::unexpected(Refusal(status, code, std::move(message)));
}

// {"errors":[{"code":…,"message":…,"detail":…}]}
std::string to_json(const Refusal& refusal);

net::Response response_of(Answer answer);

// `json` with its length and type.
net::Response json_response(int status, std::string_view content_type, std::string json);

// How many bytes its body has, as far as that is known before it is sent; else 0.
uint64_t announced_size(const net::Response& response);

// Where the next page of a list is.
void add_link(net::Response& response, std::string_view path, const net::Query& query);
// The query of the page after `last`: "n=LIMIT&last=LAST".
net::Query after(std::string_view last, size_t limit);

// Whether If-None-Match names this entity tag (with its quotes).
bool matches_etag(const net::Request& request, std::string_view etag);

}  // namespace runnel::registry
