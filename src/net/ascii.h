// Text of protocols: ASCII, whatever the locale says of it.
#pragma once

#include <string>
#include <string_view>

namespace runnel::net {

constexpr char lower(char c) {
  return c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c;
}
std::string lower(std::string_view text);

// Without the spaces and tabs at its ends.
std::string_view trimmed(std::string_view text);

}  // namespace runnel::net
