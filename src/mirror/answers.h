// How the mirror refuses. Internal to mirror/.
#pragma once

#include <string>

#include "net/server.h"

namespace runnel::mirror {

// An error body of the distribution specification.
net::Response error_response(int status, const char* code, const std::string& message);

}  // namespace runnel::mirror
