#include "registry/public_name.h"

#include "net/url.h"

namespace runnel::registry {

std::string public_host(const Config& config, const net::Request& request) {
  if (const auto url = net::parse_url(config.external_url)) return url->authority.text();
  const auto host = net::split_host_port(request.headers.first("Host").value_or("localhost"));
  return host ? host->text() : std::string("localhost");
}

}  // namespace runnel::registry
