#include "output/text.h"

#include <fmt/format.h>

#include <algorithm>
#include <boost/json.hpp>

namespace runnel::output {

std::string harmless(std::string_view text) {
  std::string out;
  for (const char c : text) {
    const auto byte = static_cast<unsigned char>(c);
    if (byte < 0x20 || byte == 0x7f) {
      out += fmt::format("\\x{:02x}", byte);
    } else {
      out += c;
    }
  }
  return out;
}

std::string scalar_text(const boost::json::value& value) {
  if (value.is_null()) return {};
  if (const auto* text = value.if_string()) return harmless(*text);
  return boost::json::serialize(value);
}

size_t width_of(std::string_view text) {
  return static_cast<size_t>(
      std::ranges::count_if(text, [](char c) { return (c & 0xc0) != 0x80; }));
}

}  // namespace runnel::output
