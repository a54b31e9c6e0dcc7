#include "cli/registry_access.h"

#include <algorithm>

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
  // Who names an authority wants TLS, on loopback as well.
  if (!options.plain_http && !options.ca_file.empty()) settings.plain_http = false;
  return remote::Hosts(settings);
}

remote::GatewayOptions gateway_options(const RegistryOptions& options) {
  const Duration timeout = std::chrono::seconds(options.timeout_s);
  remote::GatewayOptions out;
  out.connect_timeout = std::min(out.connect_timeout, timeout);
  out.stall_timeout = timeout;
  out.small_timeout = 2 * timeout;
  out.token_timeout = std::min(out.token_timeout, timeout);
  return out;
}

}  // namespace

RegistryAccess::RegistryAccess(const RegistryOptions& options)
    : RegistryAccess(
          options, std::make_shared<remote::DockerConfig>(remote::DockerConfig::default_path())) {}

RegistryAccess::RegistryAccess(const RegistryOptions& options,
                               std::shared_ptr<remote::CredentialSource> credentials)
    : client_(client_options(options)),
      gateway_(std::make_shared<remote::Gateway>(client_, hosts_of(options), std::move(credentials),
                                                 clock_, gateway_options(options))) {}

remote::Repository RegistryAccess::repository(const oci::Reference& reference) const {
  return remote::Repository(gateway_, reference.host, reference.repository);
}

Error with_advice(Error error, const std::string& host) {
  if (error.code == Code::kDenied)
    error.message +=
        fmt::format("; log in with `runnel login -n {0}` (or `docker login {0}`, podman)", host);
  if (error.code == Code::kUnavailable)
    error.message += fmt::format("; `runnel check-health -n {}` looks at what has to work", host);
  return error;
}

Error with_push_advice(Error error, const oci::Reference& image, bool ours) {
  if (error.code != Code::kDenied) return with_advice(std::move(error), image.host);
  error.message += fmt::format(
      "; log in with `runnel login -n {0}` (or `docker login {0}`, podman) as somebody who "
      "may push to {1}",
      image.host, image.repository);
  if (!ours) return error;
  error.message += fmt::format(
      " and has the role Converter there (an owner gives it with `runnel role assignment create -r "
      "{0} --assignee NAME --role Converter --scope {1}`), or have the registry convert it with "
      "`runnel artifact-streaming create -n {0} --image {1}{2}{3}`",
      image.host, image.repository, image.digest ? "@" : ":", image.target());
  return error;
}

}  // namespace runnel::cli
