// What a registry's refusal means and says.
//
//   {"errors": [{"code": "MANIFEST_UNKNOWN", "message": "…", "detail": …}, …]}
#pragma once

#include <string>
#include <string_view>

#include "base/bytes.h"
#include "base/error.h"

namespace runnel::remote {

// "MANIFEST_UNKNOWN: no such manifest; DENIED: …" of an error document, the beginning of a plain
// text, or nothing when the body is something else. At most 500 characters, none of them a control
// character.
std::string error_text(Bytes body, std::string_view content_type);

// What a caller can do about a status that is not a success.
Code code_of_status(int status);

// "404 Not Found", "599".
std::string status_text(int status);

}  // namespace runnel::remote
