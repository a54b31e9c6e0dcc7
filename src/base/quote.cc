#include "base/quote.h"

#include <fmt/format.h>

namespace runnel {

std::string quote(std::string_view text) {
  constexpr size_t kLimit = 512;
  std::string result = "\"";
  for (const char c : text.substr(0, kLimit)) {
    const auto byte = static_cast<unsigned char>(c);
    if (byte < 0x20 || byte > 0x7e || c == '"' || c == '\\') {
      result += fmt::format("\\x{:02x}", byte);
    } else {
      result += c;
    }
  }
  result += text.size() > kLimit ? "\"…" : "\"";
  return result;
}

}  // namespace runnel
