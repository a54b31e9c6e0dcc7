#include "registry/byte_range.h"

#include <charconv>

#include "base/quote.h"
#include "net/ascii.h"

namespace runnel::registry {

namespace {

// Only digits, and no more than fit.
std::optional<uint64_t> number(std::string_view text) {
  uint64_t value = 0;
  const char* begin = text.data();  // NOLINT(bugprone-suspicious-stringview-data-usage): with end
  const char* end = begin + text.size();
  const auto [at, error] = std::from_chars(begin, end, value);
  if (text.empty() || error != std::errc() || at != end) return std::nullopt;
  return value;
}

RangeAnswer suffix_of(std::string_view count_text, uint64_t size) {
  const auto count = number(count_text);
  if (!count) return WholeBody{};
  if (*count == 0 || size == 0) return NoSuchRange{};
  return ByteRange{*count >= size ? 0 : size - *count, size - 1};
}

}  // namespace

RangeAnswer range_of(std::string_view header, uint64_t size) {
  constexpr std::string_view kUnit = "bytes=";
  header = net::trimmed(header);
  if (!header.starts_with(kUnit)) return WholeBody{};
  const auto spec = net::trimmed(header.substr(kUnit.size()));
  const auto dash = spec.find('-');
  if (dash == std::string_view::npos || spec.find(',') != std::string_view::npos)
    return WholeBody{};
  if (dash == 0) return suffix_of(spec.substr(1), size);
  const auto first = number(spec.substr(0, dash));
  const auto last_text = spec.substr(dash + 1);
  const auto last = last_text.empty() ? UINT64_MAX : number(last_text);
  if (!first || !last) return WholeBody{};
  if (*last < *first || *first >= size) return NoSuchRange{};
  return ByteRange{*first, std::min(*last, size - 1)};
}

Result<ByteRange> parse_content_range(std::string_view header) {
  auto spec = net::trimmed(header);
  if (spec.starts_with("bytes ") || spec.starts_with("bytes=")) spec = net::trimmed(spec.substr(6));
  spec = spec.substr(0, spec.find('/'));
  const auto dash = spec.find('-');
  if (dash != std::string_view::npos) {
    const auto first = number(spec.substr(0, dash));
    const auto last = number(spec.substr(dash + 1));
    if (first && last && *first <= *last && *last < UINT64_MAX) return ByteRange{*first, *last};
  }
  return fail(Code::kInvalid, "Content-Range {} is not FIRST-LAST", quote(header));
}

}  // namespace runnel::registry
