// The passwords that `docker login` and `podman login` keep in a config.json or auth.json
// (docker_auths.h). A helper for the host goes before the store, the store before the file's own
// entries.
#pragma once

#include <string>

#include "remote/child_program.h"
#include "remote/credentials.h"

namespace runnel::remote {

class DockerConfig final : public CredentialSource {
 public:
  // The file is read again at every call, so that a new login is seen; it need not exist.
  explicit DockerConfig(std::string path, ProgramLimits limits = {});

  // $DOCKER_CONFIG/config.json, or ~/.docker/config.json; empty when neither variable is set.
  static std::string default_path();

  Result<std::optional<Credential>> find(std::string_view host,
                                         std::string_view repository) override;

 private:
  const std::string path_;
  const ProgramLimits limits_;
};

}  // namespace runnel::remote
