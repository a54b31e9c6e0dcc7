#include "remote/hosts.h"

#include <arpa/inet.h>
#include <netinet/in.h>

#include <algorithm>
#include <array>
#include <chrono>
#include <cstdint>
#include <cstring>
#include <mutex>

#include "base/log.h"
#include "net/ascii.h"
#include "oci/reference.h"
#include "remote/hosts_file.h"

namespace runnel::remote {

namespace {

bool is_localhost_name(std::string_view host) {
  std::string name = net::lower(host);
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

// What the directory's files say, for a few seconds.
class HostsDirectory {
 public:
  explicit HostsDirectory(std::string path) : path_(std::move(path)) {}

  // Null when there is no file. The file is read without the lock: a disk that hangs holds up who
  // asks for this host, and for no other.
  using Found = Result<std::shared_ptr<const HostsFile>>;
  Found find(std::string_view host, bool defaults) {
    const auto key = std::pair(std::string(host), defaults);
    const auto now = std::chrono::steady_clock::now();
    {
      const std::lock_guard lock(mutex_);
      const auto known = known_.find(key);
      if (known != known_.end() && now - known->second.read_at < kLife) return known->second.found;
      if (known != known_.end()) known->second.read_at = now;  // others take what was there so far
    }
    auto found = read(host, defaults);
    const std::lock_guard lock(mutex_);
    if (known_.size() > kMaxKnown) known_.clear();
    auto& known = known_[key];
    const bool said = !found && !known.found && found.error() == known.found.error();
    if (!found && !said) log::warning("{}", found.error().message);
    known = {.read_at = now, .found = found};
    return found;
  }

 private:
  static constexpr auto kLife = std::chrono::seconds(1);
  static constexpr size_t kMaxKnown = 4096;
  struct Known {
    std::chrono::steady_clock::time_point read_at;
    Found found;
  };

  Found read(std::string_view host, bool defaults) const {
    auto file = read_hosts_file(path_, host, defaults);
    if (file) return std::make_shared<const HostsFile>(*std::move(file));
    if (file.error().code == Code::kNotFound) return nullptr;
    return std::unexpected(std::move(file).error());
  }

  const std::string path_;
  std::mutex mutex_;
  std::map<std::pair<std::string, bool>, Known> known_;
};

void Hosts::set(std::string host, HostSettings settings) {
  hosts_.insert_or_assign(std::move(host), std::move(settings));
}

void Hosts::set_directory(std::string directory) {
  directory_ = std::make_shared<HostsDirectory>(std::move(directory));
}

Endpoint Hosts::endpoint(std::string_view host) const {
  const auto found = hosts_.find(host);
  HostSettings settings = found == hosts_.end() ? otherwise_ : found->second;
  Endpoint endpoint;
  endpoint.host = host;
  if (found == hosts_.end() && directory_ != nullptr) {
    const auto file = directory_->find(host, true);
    if (!file) {
      endpoint.refused = file.error();
      return endpoint;
    }
    if (*file != nullptr) settings = (*file)->settings;
  }
  endpoint.plain_http = settings.plain_http.value_or(is_loopback(host));
  endpoint.url = (endpoint.plain_http ? "http://" : "https://") + oci::registry_host(host);
  if (!settings.origin.empty()) {
    endpoint.url = settings.origin;
    endpoint.plain_http = settings.origin.starts_with("http://");
  }
  endpoint.headers = std::move(settings.headers);
  endpoint.tls = endpoint.tls_elsewhere = std::move(settings.tls);
  if (endpoint.tls && !endpoint.tls->certificate_file.empty()) {
    auto anonymous = *endpoint.tls;
    anonymous.certificate_file.clear();
    anonymous.key_file.clear();
    endpoint.tls_elsewhere = std::make_shared<const net::TlsSettings>(std::move(anonymous));
  }
  return endpoint;
}

bool Hosts::is_configured(std::string_view host, const std::vector<std::string>& mirrors) const {
  if (hosts_.contains(host)) return true;
  if (directory_ == nullptr) return false;
  const auto file = directory_->find(host, false);
  return file && *file != nullptr && std::ranges::any_of((*file)->mirrors, [&](const auto& one) {
           return std::ranges::find(mirrors, one) != mirrors.end();
         });
}

}  // namespace runnel::remote
