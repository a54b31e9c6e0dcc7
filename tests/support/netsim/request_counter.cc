#include "support/netsim/request_counter.h"

#include <strings.h>

#include <algorithm>
#include <charconv>

namespace runnel::netsim {

namespace {

constexpr size_t kMaxHead = 64 << 10;
constexpr std::string_view kEnd = "\r\n\r\n";

// The value of a header field; empty when it is absent.
std::string_view field(std::string_view head, std::string_view name) {
  for (size_t at = head.find("\r\n"); at != std::string_view::npos; at = head.find("\r\n", at)) {
    at += 2;
    const auto line = head.substr(at, head.find("\r\n", at) - at);
    if (line.size() <= name.size() || line[name.size()] != ':') continue;
    if (::strncasecmp(line.data(), name.data(), name.size()) != 0) continue;
    const auto value = line.substr(name.size() + 1);
    return value.substr(std::min(value.find_first_not_of(' '), value.size()));
  }
  return {};
}

}  // namespace

void RequestCounter::feed(std::string_view bytes) {
  while (!bytes.empty() && !lost_) {
    if (body_ > 0) {
      const auto skipped = static_cast<size_t>(std::min<uint64_t>(body_, bytes.size()));
      body_ -= skipped;
      bytes.remove_prefix(skipped);
      continue;
    }
    const size_t before = head_.size();
    head_ += bytes;
    // The end may stand across two pieces.
    const size_t end = head_.find(kEnd, before < kEnd.size() ? 0 : before - kEnd.size());
    if (end == std::string::npos) {
      lost_ = head_.size() > kMaxHead;
      return;
    }
    bytes.remove_prefix(end + kEnd.size() - before);
    head_.resize(end);
    head_ended();
    head_.clear();
  }
}

void RequestCounter::head_ended() {
  const std::string_view head = head_;
  const auto line = head.substr(0, head.find("\r\n"));
  const auto version = line.rfind(" HTTP/1.");
  lost_ = version == std::string_view::npos || !field(head, "Transfer-Encoding").empty();
  if (version == std::string_view::npos) return;
  const auto length = field(head, "Content-Length");
  std::from_chars(length.data(), length.data() + length.size(), body_);
  seen_(line.substr(0, version), field(head, "Range"));
}

}  // namespace runnel::netsim
