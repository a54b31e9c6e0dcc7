// UTF-8 (RFC 3629): what JSON is written in, and bytes of somebody else's may not be.
#pragma once

#include <cstddef>
#include <string>
#include <string_view>

namespace runnel {

// How many bytes the character at the front has; 0 when there is none. No surrogates, no overlong
// forms.
size_t utf8_size(std::string_view text);

bool is_utf8(std::string_view text);

// The text with U+FFFD for each byte that belongs to no character.
std::string to_utf8(std::string text);

}  // namespace runnel
