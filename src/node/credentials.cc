#include "node/credentials.h"

#include <fcntl.h>
#include <unistd.h>

#include <cstdlib>

#include "base/memory_file.h"
#include "remote/credential_providers.h"
#include "remote/docker_config.h"

namespace runnel::node {

namespace {

constexpr const char* kMemoryVariable = "RUNNEL_MEMORY_FD";

// What prepare_memory() made; not for the programs that this process starts. Invalid for none.
UniqueFd inherited_memory() {
  const char* text = std::getenv(kMemoryVariable);
  if (text == nullptr) return {};
  const int fd = std::atoi(text);
  if (fd <= STDERR_FILENO || ::fcntl(fd, F_SETFD, FD_CLOEXEC) != 0) return {};
  return UniqueFd(fd);
}

constexpr const char* kKubeletDockerConfig = "/var/lib/kubelet/config.json";

std::vector<std::string> docker_configs(const CredentialPlaces& places) {
  if (!places.docker_configs.empty()) return places.docker_configs;
  std::vector<std::string> paths = {kKubeletDockerConfig};
  if (auto own = remote::DockerConfig::default_path(); !own.empty())
    paths.insert(paths.begin(), std::move(own));
  return paths;
}

}  // namespace

Result<void> prepare_memory() {
  RUNNEL_TRY(const int memory, keep_memory_file(kMemoryVariable, "runnel-credentials", 0));
  (void)memory;
  return {};
}

Credentials make_credentials(const CredentialPlaces& places, const Logins& logins,
                             const Clock& clock) {
  remote::CredentialChain::Sources sources;
  if (!places.provider_config.empty())
    sources.push_back(std::make_shared<remote::CredentialProviders>(
        places.provider_config, places.provider_directory, clock));
  for (auto& path : docker_configs(places))
    sources.push_back(std::make_shared<remote::DockerConfig>(std::move(path)));
  sources.push_back(std::make_shared<remote::DockerConfig>(logins.path()));

  Credentials out;
  out.renewable = std::make_shared<remote::CredentialChain>(sources, clock);
  out.shown = std::make_shared<remote::ShownCredentials>(clock, inherited_memory());
  sources.push_back(out.shown);
  out.all = std::make_shared<remote::CredentialChain>(std::move(sources), clock);
  return out;
}

}  // namespace runnel::node
