// What clients of ACR ask for under names of their own and the distribution API has too:
//
//   GET    /acr/v1/_catalog                     /v2/_catalog
//   DELETE /acr/v1/REPOSITORY/_tags/TAG         /v2/REPOSITORY/manifests/TAG
#pragma once

#include <optional>
#include <string>

#include "net/server.h"

namespace runnel::registry {

// The path in the distribution API that means the same; empty when there is none.
std::optional<std::string> distribution_path(const net::Request& request);

}  // namespace runnel::registry
