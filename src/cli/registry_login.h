// A person's login to a registry, as docker, podman and the commands of this program use it.
#pragma once

#include "cli/api_options.h"

namespace runnel::cli {

// Tries user and password at the registry and keeps them in docker's configuration, or with the
// helper that it names.
int registry_login(const ApiOptions& options);
int registry_logout(const ApiOptions& options);

}  // namespace runnel::cli
