#include "net/request_parser.h"

#include <boost/asio/buffer.hpp>
#include <boost/beast/http/buffer_body.hpp>
#include <boost/beast/http/parser.hpp>

#include "base/quote.h"

namespace runnel::net {

namespace http = boost::beast::http;
using boost::system::error_code;

namespace {

std::string_view text_of(boost::beast::string_view view) {
  return {view.data(), view.size()};
}

Refusal refusal_of(const error_code& error) {
  if (error == http::error::header_limit)
    return {431, "the head of the request is too large for this server"};
  if (error == http::error::bad_version)
    return {505, "this server speaks HTTP/1.1 and HTTP/1.0 only"};
  return {400, "malformed request: " + error.message()};
}

}  // namespace

struct RequestParser::State {
  using Parser = http::request_parser<http::buffer_body>;

  const auto& message() const { return parser->get(); }

  size_t max_header_bytes;
  std::optional<Parser> parser;
  bool keep_alive = false;  // of the head: trailers may not change it
};

RequestParser::RequestParser(size_t max_header_bytes) : state_(std::make_unique<State>()) {
  state_->max_header_bytes = max_header_bytes;
  reset();
}

RequestParser::~RequestParser() = default;

void RequestParser::reset() {
  auto& parser = state_->parser.emplace();
  parser.header_limit(static_cast<uint32_t>(state_->max_header_bytes));
  parser.body_limit(boost::none);
  parser.eager(false);
}

RequestParser::HeadStep RequestParser::feed_head(Bytes input) {
  auto& parser = *state_->parser;
  HeadStep step;
  error_code error;
  step.used = parser.put(boost::asio::const_buffer(input.data(), input.size()), error);
  if (error && error != http::error::need_more) step.refusal = refusal_of(error);
  step.done = !error && parser.is_header_done();
  if (step.done) state_->keep_alive = parser.get().keep_alive();
  return step;
}

// Beast asserts that the last chunk, once begun, is given to it with at least so many bytes; and no
// chunked body ends with fewer ("0" CRLF CRLF), so nobody waits in vain.
constexpr size_t kLeastRest = 5;

Result<RequestParser::BodyStep> RequestParser::feed_chunked(Bytes input, MutableBytes into) {
  auto& parser = *state_->parser;
  auto& body = parser.get().body();
  body.data = into.data();
  body.size = into.size();
  BodyStep step;
  while (body.size > 0 && !parser.is_done()) {
    const auto rest = input.subspan(step.used);
    if (rest.empty() || (rest.size() < kLeastRest && rest.front() == std::byte{'0'})) break;
    error_code error;
    step.used += parser.put(boost::asio::const_buffer(rest.data(), rest.size()), error);
    if (error == http::error::need_more || error == http::error::need_buffer) break;
    if (error) return fail(Code::kInvalid, "malformed chunked body: {}", error.message());
  }
  step.produced = into.size() - body.size;
  step.done = parser.is_done();
  body.data = nullptr;
  return step;
}

bool RequestParser::http_1_0() const {
  return state_->message().version() < 11;
}
bool RequestParser::keep_alive() const {
  return state_->keep_alive;
}
bool RequestParser::chunked() const {
  return state_->parser->chunked();
}

bool RequestParser::expects_continue() const {
  return !http_1_0() &&
         boost::beast::iequals(state_->message()[http::field::expect], "100-continue");
}

uint64_t RequestParser::content_length() const {
  const auto length = state_->parser->content_length();
  return length ? *length : 0;
}

std::optional<Refusal> RequestParser::take(Request& request) {
  const auto& message = state_->message();
  request.method = text_of(message.method_string());
  request.target = text_of(message.target());
  for (const auto& field : message) {
    auto added = request.headers.add_received(text_of(field.name_string()), text_of(field.value()));
    if (!added)
      return Refusal{added.error().code == Code::kExhausted ? 431 : 400, added.error().message};
  }

  const auto hosts = request.headers.all("Host").size();
  if (hosts > 1 || (hosts == 0 && !http_1_0()))
    return Refusal{400, "a request needs exactly one Host header"};
  if (request.headers.has("Transfer-Encoding") &&
      (http_1_0() || request.headers.all("Transfer-Encoding").size() != 1 ||
       !same_name(*request.headers.first("Transfer-Encoding"), "chunked")))
    return Refusal{501, "the only transfer coding that this server knows is \"chunked\""};
  if (request.headers.has("Expect") && !http_1_0() && !expects_continue())
    return Refusal{417, "the only expectation that this server knows is \"100-continue\""};
  if (auto split = split_target(request); !split) return Refusal{400, split.error().message};
  return std::nullopt;
}

Result<void> split_target(Request& request) {
  std::string_view target = request.target;
  if (target == "*") {
    request.path = target;
    return {};
  }
  std::string absolute;
  if (!target.starts_with('/')) {
    auto url = parse_url(target);
    if (!url)
      return fail(Code::kInvalid, "request target {} is not a path",
                  quote(without_secrets(target)));
    absolute = url->target;
    target = absolute;
  }
  const auto mark = std::min(target.find('?'), target.size());
  auto path = percent_decode(target.substr(0, mark));
  if (!path) return std::unexpected(path.error().in("path of the request"));
  if (path->contains('\0')) return fail(Code::kInvalid, "path of the request: NUL");
  request.path = *std::move(path);
  RUNNEL_TRY(request.query, Query::parse(target.substr(std::min(mark + 1, target.size()))));
  return {};
}

}  // namespace runnel::net
