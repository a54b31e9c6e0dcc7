// The Range header of a read, and the Content-Range of a piece of an upload.
#pragma once

#include <cstdint>
#include <optional>
#include <string_view>
#include <variant>

#include "base/error.h"

namespace runnel::registry {

struct ByteRange {
  uint64_t first = 0;
  uint64_t last = 0;  // of the same byte when equal

  uint64_t size() const { return last - first + 1; }
  bool operator==(const ByteRange&) const = default;
};

struct WholeBody {};    // 200
struct NoSuchRange {};  // 416
using RangeAnswer = std::variant<WholeBody, ByteRange, NoSuchRange>;

// What a Range header asks for of `size` bytes (RFC 9110, section 14). Other units, several ranges
// and headers that are no ranges at all are ignored, as the RFC allows; "5-0" and a start at or
// beyond the end cannot be satisfied, as the conformance suite wants it; an end beyond the end is
// cut.
RangeAnswer range_of(std::string_view header, uint64_t size);

// "0-99" of the distribution specification, and "bytes 0-99/200" and "bytes 0-99/*" of HTTP.
Result<ByteRange> parse_content_range(std::string_view header);

}  // namespace runnel::registry
