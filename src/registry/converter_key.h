// The key that the registry signs its artifacts with.
#pragma once

#include "artifact/signature.h"
#include "base/error.h"
#include "registry/config.h"

namespace runnel::registry {

// The configured one, or converter.key of the data directory: made when it is not there, readable
// by its owner only, by one of several processes that start together.
Result<artifact::Key> load_or_make_converter_key(const Config& config);

}  // namespace runnel::registry
