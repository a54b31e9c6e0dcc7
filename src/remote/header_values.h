// The response header values that a registry's client has to understand.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "base/clock.h"
#include "base/error.h"

namespace runnel::remote {

// Content-Range: bytes FIRST-LAST/TOTAL (RFC 9110, 14.4).
struct ContentRange {
  uint64_t first = 0;
  uint64_t last = 0;
  std::optional<uint64_t> total;  // none when the server wrote '*'

  bool operator==(const ContentRange&) const = default;
};
Result<ContentRange> parse_content_range(std::string_view value);

// The target of the first link with rel="next" (RFC 8288), if there is one.
std::optional<std::string> next_link(std::string_view value);

// Retry-After: seconds, or a date (RFC 9110, 10.2.3). None when it is neither. Never negative;
// more than a day counts as a day.
std::optional<Duration> parse_retry_after(std::string_view value, WallTime now);

// A number of at most 19 digits and nothing else.
std::optional<uint64_t> parse_decimal(std::string_view text);

// A media type without its parameters, lower case: "a/b; charset=utf-8" -> "a/b".
std::string bare_media_type(std::string_view value);

}  // namespace runnel::remote
