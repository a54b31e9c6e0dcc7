#include "cli/private_address.h"

#include <arpa/inet.h>
#include <netinet/in.h>

#include <algorithm>
#include <array>
#include <cstdint>
#include <cstring>

namespace runnel::cli {

namespace {

struct Network {
  uint32_t address;
  int bits;
};
constexpr std::array<Network, 6> kPrivate{{
    {.address = 0x0a000000, .bits = 8},   // 10.0.0.0
    {.address = 0xac100000, .bits = 12},  // 172.16.0.0
    {.address = 0xc0a80000, .bits = 16},  // 192.168.0.0
    {.address = 0x64400000, .bits = 10},  // 100.64.0.0
    {.address = 0xa9fe0000, .bits = 16},  // 169.254.0.0
    {.address = 0x7f000000, .bits = 8},   // 127.0.0.0
}};

bool is_private(uint32_t address) {
  return std::ranges::any_of(kPrivate, [address](const Network& network) {
    return (address ^ network.address) >> (32 - network.bits) == 0;
  });
}

bool is_private(const in6_addr& address) {
  if (IN6_IS_ADDR_V4MAPPED(&address)) {
    uint32_t last = 0;
    std::memcpy(&last, address.s6_addr + 12, sizeof last);
    return is_private(ntohl(last));
  }
  const bool unique_local = (address.s6_addr[0] & 0xfe) == 0xfc;
  return unique_local || IN6_IS_ADDR_LINKLOCAL(&address) || IN6_IS_ADDR_LOOPBACK(&address);
}

}  // namespace

bool is_private(const sockaddr& address) {
  if (address.sa_family == AF_INET) {
    sockaddr_in four{};
    std::memcpy(&four, &address, sizeof four);
    return is_private(ntohl(four.sin_addr.s_addr));
  }
  if (address.sa_family != AF_INET6) return false;
  sockaddr_in6 six{};
  std::memcpy(&six, &address, sizeof six);
  return is_private(six.sin6_addr);
}

}  // namespace runnel::cli
