// The tag under which clients keep a list of referrers themselves, in a registry that has none
// (distribution-spec, "Referrers Tag Schema").
#pragma once

#include <string>

#include "oci/digest.h"

namespace runnel::oci {

// "sha256-HEX"; of a longer digest the first 64 digits, because a tag has 128 characters at most.
std::string fallback_tag(const Digest& subject);

}  // namespace runnel::oci
