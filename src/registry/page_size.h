// How long a page of a list under /acr/v1/ is.
#pragma once

#include <expected>

#include "registry/reply.h"

namespace runnel::registry {

// "?n=", at most 1000; 100 without it, as ACR has it. 400 when it is no number above 0.
std::expected<size_t, Refusal> page_size(const net::Request& request);

}  // namespace runnel::registry
