// What clients print of an answer that is none the worse for it: Warning headers (RFC 7234, 5.5, as
// the distribution specification uses them: code 299, agent "-").
#pragma once

#include <map>
#include <string>

#include "base/error.h"
#include "net/headers.h"
#include "registry/caller.h"
#include "registry/route.h"

namespace runnel::registry {

// From repositories, or patterns of them, to what everyone who uses them should know.
using Notices = std::map<std::string, std::string>;

// kInvalid for a text that a header cannot carry, or clients would not show.
Result<void> check_notice(std::string_view text);

// Adds what concerns the caller's password, and what the operator says of the repository. Only to
// answers about manifests, and to the ping: once for each image, not for each of its blobs.
void add_warnings(net::Headers& headers, const Notices& notices, const Caller& caller,
                  const Route& route);

}  // namespace runnel::registry
