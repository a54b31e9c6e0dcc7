// Base64 (RFC 4648, section 4), as Basic authentication and docker's config.json use it.
#pragma once

#include <string>
#include <string_view>

#include "base/error.h"

namespace runnel {

std::string to_base64(std::string_view text);
// Padding may be missing; kInvalid on any other character.
Result<std::string> from_base64(std::string_view text);

}  // namespace runnel
