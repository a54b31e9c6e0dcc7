// The passwords that `docker login` and `podman login` keep in a config.json or auth.json.
//
//   {"auths": {KEY: {"auth": base64("user:password"), "identitytoken": …, "registrytoken": …}},
//    "credHelpers": {HOST: HELPER}, "credsStore": HELPER}
//
// KEY is a host, a host with a path of repositories (podman; the longest that fits is used), or
// "https://index.docker.io/v1/" for docker.io. A helper for the host goes before the store, the
// store before the file's own entries.
#pragma once

#include <string>

#include "remote/credential_helper.h"
#include "remote/credentials.h"

namespace boost::json {
class object;
}

namespace runnel::remote {

// The helper that a parsed file names for this host, or for every host; empty: none.
std::string helper_for_host(const boost::json::object& config, std::string_view host);

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
