#include "remote/url.h"

#include <boost/url.hpp>

#include "net/url.h"

namespace runnel::remote {

namespace {

constexpr size_t kMaxUrl = 16 << 10;  // signed storage URLs are long

std::string shown(std::string_view url) {
  return net::without_secrets(url.substr(0, 200));
}

}  // namespace

Result<std::string> resolve_url(std::string_view base, std::string_view reference) {
  namespace urls = boost::urls;
  if (reference.size() > kMaxUrl)
    return fail(Code::kInvalid, "an address of {} bytes is too long", reference.size());
  const auto from = urls::parse_uri(base);
  const auto to = urls::parse_uri_reference(reference);
  urls::url resolved;
  if (!from || !to || !urls::resolve(*from, *to, resolved))
    return fail(Code::kInvalid, "a reference that is not a URL, seen from {}", shown(base));
  resolved.remove_fragment();

  RUNNEL_TRY(const net::Url checked, net::parse_url(std::string_view(resolved.buffer())));
  return checked.text();
}

bool is_same_origin(std::string_view a, std::string_view b) {
  const auto first = net::parse_url(a);
  const auto second = net::parse_url(b);
  return first && second && first->same_origin(*second);
}

Result<void> check_leads_on(const Endpoint& registry, std::string_view url) {
  RUNNEL_TRY(const net::Url target, net::parse_url(url));
  if (!registry.plain_http && target.scheme != "https")
    return fail(Code::kDenied, "refusing to follow {} from HTTPS down to {}", registry.host,
                shown(url));

  const auto own = net::parse_url(registry.url);
  const bool itself = own && own->authority.host == target.authority.host;
  if (!itself && is_local_address(target.authority.host) && !is_local_address(registry.host))
    return fail(Code::kDenied, "refusing to follow {} to the local address {}", registry.host,
                shown(url));
  return {};
}

std::string with_query(std::string url, std::string_view name, std::string_view value) {
  url += url.find('?') == std::string::npos ? '?' : '&';
  return std::move(url) + std::string(name) + "=" + net::percent_encode(value);
}

}  // namespace runnel::remote
