// Where a redirect leads.
#pragma once

#include <string_view>

#include "base/error.h"
#include "net/url.h"

namespace runnel::net {

// The URL that `location` (absolute or relative, untrusted) means in an answer from `from`. User
// information in it is dropped. kInvalid when it is not http or https, or leaves https for http.
Result<Url> redirect_target(const Url& from, std::string_view location);

}  // namespace runnel::net
