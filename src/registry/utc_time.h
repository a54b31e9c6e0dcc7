// Times as the registry's JSON has them.
#pragma once

#include <string>

#include "base/clock.h"

namespace runnel::registry {

// RFC 3339, to the second: "2026-11-24T09:00:00Z".
std::string to_utc_text(WallTime time);

}  // namespace runnel::registry
