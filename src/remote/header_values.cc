#include "remote/header_values.h"

#include <time.h>

#include <algorithm>
#include <charconv>

#include "net/ascii.h"

namespace runnel::remote {

namespace {

// The part of `text` up to the first `end` that is not inside quotes; `text` goes on behind it.
std::string_view take_until(std::string_view& text, char end) {
  bool quoted = false;
  size_t i = 0;
  for (; i < text.size(); ++i) {
    if (quoted && text[i] == '\\') {
      ++i;
    } else if (text[i] == '"') {
      quoted = !quoted;
    } else if (!quoted && text[i] == end) {
      break;
    }
  }
  i = std::min(i, text.size());
  const std::string_view part = text.substr(0, i);
  text.remove_prefix(std::min(i + 1, text.size()));
  return part;
}

bool names_next(std::string_view parameter) {
  const size_t equals = parameter.find('=');
  if (equals == std::string_view::npos) return false;
  if (net::lower(net::trimmed(parameter.substr(0, equals))) != "rel") return false;
  std::string_view value = net::trimmed(parameter.substr(equals + 1));
  if (value.size() >= 2 && value.starts_with('"') && value.ends_with('"'))
    value = value.substr(1, value.size() - 2);
  return net::lower(value) == "next";
}

}  // namespace

std::optional<uint64_t> parse_decimal(std::string_view text) {
  if (text.empty() || text.size() > 19) return std::nullopt;
  uint64_t value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error != std::errc() || end != text.data() + text.size()) return std::nullopt;
  return value;
}

Result<ContentRange> parse_content_range(std::string_view value) {
  const auto broken = [&] {
    return fail(Code::kInvalid, "Content-Range is \"{}\", not bytes FIRST-LAST/TOTAL",
                value.substr(0, 80));
  };
  std::string_view rest = net::trimmed(value);
  if (rest.size() < 6 || net::lower(rest.substr(0, 5)) != "bytes" || rest[5] != ' ')
    return broken();
  rest = net::trimmed(rest.substr(6));
  const size_t dash = rest.find('-');
  const size_t slash = rest.find('/');
  if (dash == std::string_view::npos || slash == std::string_view::npos || slash < dash)
    return broken();

  const auto first = parse_decimal(rest.substr(0, dash));
  const auto last = parse_decimal(rest.substr(dash + 1, slash - dash - 1));
  if (!first || !last || *last < *first) return broken();
  ContentRange range{.first = *first, .last = *last, .total = std::nullopt};
  const std::string_view total = rest.substr(slash + 1);
  if (total == "*") return range;
  range.total = parse_decimal(total);
  if (!range.total || *range.total <= *last) return broken();
  return range;
}

std::optional<std::string> next_link(std::string_view value) {
  while (!value.empty()) {
    // The target may contain commas and semicolons; it ends at '>'.
    const size_t open = value.find('<');
    if (open == std::string_view::npos) return std::nullopt;
    value.remove_prefix(open + 1);
    const size_t close = value.find('>');
    if (close == std::string_view::npos) return std::nullopt;
    const std::string_view target = value.substr(0, close);
    value.remove_prefix(close + 1);
    std::string_view parameters = take_until(value, ',');
    while (!parameters.empty())
      if (names_next(take_until(parameters, ';'))) return std::string(target);
  }
  return std::nullopt;
}

std::optional<Duration> parse_retry_after(std::string_view value, WallTime now) {
  constexpr std::chrono::seconds kLongest = std::chrono::hours(24);
  value = net::trimmed(value);
  if (const auto seconds = parse_decimal(value)) {
    if (*seconds > kLongest.count()) return kLongest;
    return std::chrono::seconds(*seconds);
  }
  tm parts{};
  const std::string text(value);
  const char* end = strptime(text.c_str(), "%a, %d %b %Y %H:%M:%S GMT", &parts);
  if (end == nullptr || *end != '\0') return std::nullopt;
  // In seconds: a Duration in nanoseconds ends after 292 years.
  const auto then = std::chrono::seconds(timegm(&parts));
  const auto wait = then - std::chrono::floor<std::chrono::seconds>(now.time_since_epoch());
  return std::clamp<std::chrono::seconds>(wait, std::chrono::seconds(0), kLongest);
}

std::string bare_media_type(std::string_view value) {
  return net::lower(net::trimmed(value.substr(0, value.find(';'))));
}

}  // namespace runnel::remote
