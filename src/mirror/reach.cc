#include "mirror/reach.h"

#include "net/url.h"
#include "remote/url.h"

namespace runnel::mirror {

Result<void> check_reach(const remote::Endpoint& registry, std::string_view url) {
  RUNNEL_DO(remote::check_leads_on(registry, url));
  RUNNEL_TRY(const net::Url own, net::parse_url(registry.url));
  RUNNEL_TRY(const net::Url target, net::parse_url(url));
  const std::string& host = target.authority.host;
  if (!remote::is_loopback(own.authority.host) || remote::is_loopback(host)) return {};
  if (target.scheme == "https" && !remote::is_local_address(host)) return {};
  return fail(Code::kDenied, "refusing to follow {}, which is on loopback, to {}", registry.host,
              net::without_secrets(url.substr(0, 200)));
}

}  // namespace runnel::mirror
