#include "timeline/escape.h"

#include <fmt/format.h>

#include <algorithm>

namespace runnel::timeline {

std::string printable(std::string_view text, size_t most) {
  constexpr std::string_view kDots = "...";
  std::string out;
  for (const char each : text) {
    const auto byte = static_cast<unsigned char>(each);
    if (byte < 0x20 || byte >= 0x7f) {
      out += fmt::format("\\x{:02x}", byte);
    } else {
      out += each;
    }
  }
  if (out.size() <= most) return out;
  if (most <= kDots.size()) return out.substr(0, most);
  const size_t kept = most - kDots.size();
  const size_t front = kept / 3;
  return out.substr(0, front) + std::string(kDots) + out.substr(out.size() - (kept - front));
}

std::string markup(std::string_view text) {
  std::string out;
  for (const char each : text) {
    switch (each) {
      case '&': out += "&amp;"; break;
      case '<': out += "&lt;"; break;
      case '>': out += "&gt;"; break;
      case '"': out += "&quot;"; break;
      case '\'': out += "&#39;"; break;
      default: out += each;
    }
  }
  return out;
}

}  // namespace runnel::timeline
