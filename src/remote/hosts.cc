#include "remote/hosts.h"

#include <arpa/inet.h>
#include <netinet/in.h>

#include <algorithm>
#include <array>
#include <cctype>
#include <cstdint>
#include <cstring>

#include "oci/reference.h"

namespace runnel::remote {

namespace {

std::string lower(std::string_view text) {
  std::string out(text);
  std::ranges::transform(out, out.begin(), [](unsigned char c) { return std::tolower(c); });
  return out;
}

bool is_localhost_name(std::string_view host) {
  std::string name = lower(host);
  if (name.ends_with('.')) name.pop_back();
  return name == "localhost" || name.ends_with(".localhost");
}

std::optional<uint32_t> parse_ipv4(std::string_view text) {
  // inet_aton and not inet_pton: resolvers also take "127.1" and "0x7f000001".
  in_addr address{};
  if (inet_aton(std::string(text).c_str(), &address) == 0) return std::nullopt;
  return ntohl(address.s_addr);
}

std::optional<std::array<uint8_t, 16>> parse_ipv6(std::string_view text) {
  std::string literal(text.substr(0, text.find('%')));  // without a zone
  std::array<uint8_t, 16> address{};
  if (inet_pton(AF_INET6, literal.c_str(), address.data()) != 1) return std::nullopt;
  return address;
}

// ::ffff:a.b.c.d is the IPv4 address it carries.
std::optional<uint32_t> mapped_ipv4(const std::array<uint8_t, 16>& address) {
  static constexpr std::array<uint8_t, 12> kPrefix = {0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff};
  if (std::memcmp(address.data(), kPrefix.data(), kPrefix.size()) != 0) return std::nullopt;
  uint32_t value = 0;
  std::memcpy(&value, address.data() + 12, 4);
  return ntohl(value);
}

bool is_loopback_ipv4(uint32_t address) {
  return address >> 24 == 127;
}

bool is_local_ipv4(uint32_t address) {
  return is_loopback_ipv4(address) || address >> 24 == 0 || address >> 24 == 10 ||
         address >> 20 == (172 << 4 | 1) || address >> 16 == (192 << 8 | 168) ||
         address >> 16 == (169 << 8 | 254) || address >> 22 == (100 << 2 | 1);
}

bool is_loopback_ipv6(const std::array<uint8_t, 16>& address) {
  return std::memcmp(address.data(), &in6addr_loopback, 16) == 0;
}

bool is_local_ipv6(const std::array<uint8_t, 16>& address) {
  const bool unspecified = std::memcmp(address.data(), &in6addr_any, 16) == 0;
  const bool link_local = address[0] == 0xfe && (address[1] & 0xc0) == 0x80;
  const bool unique_local = (address[0] & 0xfe) == 0xfc;
  return unspecified || link_local || unique_local || is_loopback_ipv6(address);
}

}  // namespace

std::string_view without_port(std::string_view host) {
  if (host.starts_with('[')) {
    const size_t end = host.find(']');
    return end == std::string_view::npos ? host.substr(1) : host.substr(1, end - 1);
  }
  const size_t colon = host.find(':');
  if (colon == std::string_view::npos) return host;
  if (host.find(':', colon + 1) != std::string_view::npos) return host;  // a bare IPv6 literal
  return host.substr(0, colon);
}

bool is_loopback(std::string_view host) {
  const std::string_view name = without_port(host);
  if (is_localhost_name(name)) return true;
  if (const auto v4 = parse_ipv4(name)) return is_loopback_ipv4(*v4);
  const auto v6 = parse_ipv6(name);
  if (!v6) return false;
  if (const auto v4 = mapped_ipv4(*v6)) return is_loopback_ipv4(*v4);
  return is_loopback_ipv6(*v6);
}

bool is_local_address(std::string_view host) {
  const std::string_view name = without_port(host);
  if (is_localhost_name(name)) return true;
  if (const auto v4 = parse_ipv4(name)) return is_local_ipv4(*v4);
  const auto v6 = parse_ipv6(name);
  if (!v6) return false;
  if (const auto v4 = mapped_ipv4(*v6)) return is_local_ipv4(*v4);
  return is_local_ipv6(*v6);
}

void Hosts::set(std::string host, HostSettings settings) {
  hosts_.insert_or_assign(std::move(host), std::move(settings));
}

Endpoint Hosts::endpoint(std::string_view host) const {
  const auto found = hosts_.find(host);
  const HostSettings& settings = found == hosts_.end() ? otherwise_ : found->second;

  Endpoint endpoint;
  endpoint.host = host;
  endpoint.plain_http = settings.plain_http.value_or(is_loopback(host));
  endpoint.url = (endpoint.plain_http ? "http://" : "https://") + oci::registry_host(host);
  return endpoint;
}

}  // namespace runnel::remote
