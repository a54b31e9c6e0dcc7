#include "registry/login_limits.h"

#include <arpa/inet.h>
#include <netinet/in.h>

#include <algorithm>
#include <chrono>
#include <optional>

#include "oci/digest.h"

namespace runnel::registry {

namespace {

// By then the threads have checked some of those that wait.
constexpr auto kAskAgain = std::chrono::seconds(2);

Refusal refuse_until(int status, std::string_view code, std::string message, Duration wait) {
  Refusal refusal(status, std::string(code), std::move(message));
  refusal.headers.add("Retry-After", retry_after(wait));
  return refusal;
}

}  // namespace

std::string name_at(const std::string& user, const std::string& address) {
  return fmt::format("{} {}", network_of(address), oci::Digest::of(as_bytes(user)).hex());
}

std::string network_of(std::string_view address) {
  auto host = address;
  if (host.starts_with('[') && host.ends_with(']')) host = host.substr(1, host.size() - 2);
  in6_addr parsed{};
  if (::inet_pton(AF_INET6, std::string(host).c_str(), &parsed) != 1) return std::string(address);
  constexpr size_t kNetworkBytes = 8;
  std::fill(std::begin(parsed.s6_addr) + kNetworkBytes, std::end(parsed.s6_addr), 0);
  char text[INET6_ADDRSTRLEN] = "";
  ::inet_ntop(AF_INET6, &parsed, text, sizeof text);
  return fmt::format("{}/64", text);
}

std::expected<void, Refusal> LoginLimits::check(const std::string& user,
                                                const std::string& address) {
  if (const auto wait = of_name_.wait(name_at(user, address)))
    return std::unexpected(
        refuse_until(429, "TOOMANYREQUESTS",
                     "too many wrong passwords for this name: the next is looked at later", *wait));
  if (const auto wait = of_network_.wait(network_of(address)))
    return std::unexpected(
        refuse_until(429, "TOOMANYREQUESTS",
                     "too many wrong passwords from here: the next is looked at later", *wait));
  return {};
}

std::expected<Shares::Place, Refusal> LoginLimits::wait_in_line(const std::string& address) {
  auto place = waiting_.take(network_of(address));
  if (place) return *std::move(place);
  return std::unexpected(
      refuse_until(503, "UNAVAILABLE", "too many passwords are being checked", kAskAgain));
}

void LoginLimits::failed(const std::string& user, const std::string& address) {
  of_name_.take(name_at(user, address));
  of_network_.take(network_of(address));
}

}  // namespace runnel::registry
