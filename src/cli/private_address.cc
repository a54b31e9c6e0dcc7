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
constexpr std::array<Network, 6> kPrivate{{{0x0a000000, 8},
                                           {0xac100000, 12},
                                           {0xc0a80000, 16},
                                           {0x64400000, 10},
                                           {0xa9fe0000, 16},
                                           {0x7f000000, 8}}};

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
