// How clients reach the registry: what answers may say of its own name.
#pragma once

#include <string>

#include "net/server.h"
#include "registry/config.h"

namespace runnel::registry {

// "registry.example" or "registry.example:5000": that of external_url where the configuration has
// one, because behind a proxy the request may have an inner name; otherwise what the client used.
std::string public_host(const Config& config, const net::Request& request);

}  // namespace runnel::registry
