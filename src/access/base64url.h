// Base64 as JSON Web Tokens have it (RFC 4648, section 5, without padding).
#pragma once

#include <string>
#include <string_view>

#include "base/error.h"

namespace runnel::access {

std::string to_base64url(std::string_view bytes);
// kInvalid on any other character, padding included.
Result<std::string> from_base64url(std::string_view text);

}  // namespace runnel::access
