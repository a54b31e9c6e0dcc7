// What `docker login` and `podman login` do with a password once a registry has taken it: into the
// config.json that docker_config.h reads, or to the helper that it names for this host.
#pragma once

#include <string>
#include <string_view>

#include "base/error.h"
#include "remote/child_program.h"
#include "remote/secret.h"

namespace runnel::remote {

// Keeps it for the host, instead of what was kept before, under whichever name (docker_auths.h).
// The file is made when it is not there, with its directory, for its owner alone; what else is in
// it stays. Where it is kept then, for people: the file, or "docker-credential-NAME". Blocks.
Result<std::string> keep_login(const std::string& path, std::string_view host,
                               const std::string& user, const Secret& secret,
                               const ProgramLimits& limits = {});

// Forgets what is kept for the host. False when nothing was.
Result<bool> forget_login(const std::string& path, std::string_view host,
                          const ProgramLimits& limits = {});

}  // namespace runnel::remote
