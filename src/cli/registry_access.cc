#include "cli/registry_access.h"

#include "remote/docker_config.h"

namespace runnel::cli {

namespace {

net::Client::Options client_options(const RegistryOptions& options) {
  net::Client::Options out;
  out.ca_file = options.ca_file;
  return out;
}

remote::Hosts hosts_of(const RegistryOptions& options) {
  remote::HostSettings settings;
  if (options.plain_http) settings.plain_http = true;
  return remote::Hosts(settings);
}

}  // namespace

RegistryAccess::RegistryAccess(const RegistryOptions& options)
    : client_(client_options(options)),
      gateway_(std::make_shared<remote::Gateway>(
          client_, hosts_of(options),
          std::make_shared<remote::DockerConfig>(remote::DockerConfig::default_path()), clock_)) {}

remote::Repository RegistryAccess::repository(const oci::Reference& reference) const {
  return remote::Repository(gateway_, reference.host, reference.repository);
}

}  // namespace runnel::cli
