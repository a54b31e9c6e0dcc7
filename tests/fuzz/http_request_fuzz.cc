// Any bytes as HTTP requests on one connection: no crash, everything bounded, and what is
// understood does not depend on how the bytes arrive.
//
// links: net
#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <optional>
#include <span>
#include <string>

#include "net/request_parser.h"

using namespace runnel;
using namespace runnel::net;

namespace {

constexpr size_t kMaxHead = 2048;

void demand(bool condition) {
  if (!condition) std::abort();
}

// Bytes that arrive `piece` at a time.
class Arriving {
 public:
  Arriving(Bytes bytes, size_t piece)
      : bytes_(bytes), piece_(piece), here_(std::min(piece, size())) {}

  Bytes here() const { return bytes_.first(here_); }
  void use(size_t count) {
    demand(count <= here_);
    bytes_ = bytes_.subspan(count);
    here_ -= count;
  }
  // False at the end.
  bool more() {
    if (here_ == size()) return false;
    here_ = std::min(here_ + piece_, size());
    return true;
  }

 private:
  size_t size() const { return bytes_.size(); }

  Bytes bytes_;
  size_t piece_;
  size_t here_;
};

// The whole body, if it comes.
std::optional<std::string> read_body(RequestParser& parser, Arriving& input) {
  std::string body;
  if (!parser.chunked()) {
    while (body.size() < parser.content_length()) {
      const auto left = parser.content_length() - body.size();
      const size_t part = std::min<uint64_t>(left, input.here().size());
      body += as_text(input.here().first(part));
      input.use(part);
      if (part < left && !input.more()) return std::nullopt;
    }
    return body;
  }
  for (;;) {
    std::byte into[100];
    const auto step = parser.feed_chunked(input.here(), into);
    if (!step) return std::nullopt;
    demand(step->produced <= sizeof into);
    body += as_text(Bytes(into).first(step->produced));
    input.use(step->used);
    if (step->done) return body;
    const bool full = input.here().size() >= kMaxHead;
    if (step->used == 0 && (full || !input.more())) return std::nullopt;
  }
}

// False when nothing can follow.
bool understand_one(RequestParser& parser, Arriving& input, std::string& understood) {
  parser.reset();
  for (;;) {
    const auto step = parser.feed_head(input.here());
    input.use(step.used);
    if (step.refusal) return false;
    if (step.done) break;
    if (input.here().size() >= kMaxHead || !input.more()) return false;
  }
  Request request;
  if (parser.take(request)) return false;
  demand(request.headers.size() <= Headers::kMaxLines && request.headers.check());
  demand(!request.path.empty() && !request.path.contains('\0'));
  understood += "\n" + request.method + " " + request.path + "?" + request.query.text();
  for (const auto& line : request.headers) understood += "\n" + line.name + ":" + line.value;
  understood += "\n";
  const auto body = read_body(parser, input);
  understood += body.value_or("");
  return body.has_value();
}

std::string understand(Bytes bytes, size_t piece) {
  RequestParser parser(kMaxHead);
  Arriving input(bytes, piece);
  std::string understood;
  while ((!input.here().empty() || input.more()) && understand_one(parser, input, understood)) {
  }
  return understood;
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const auto bytes = std::as_bytes(std::span(data, size));
  if (size <= kMaxHead) demand(understand(bytes, size + 1) == understand(bytes, 1));
  understand(bytes, 100);
  return 0;
}
