#include "cli/private_address.h"

#include <arpa/inet.h>
#include <gtest/gtest.h>
#include <netinet/in.h>

#include <cstring>
#include <string>

namespace runnel::cli {
namespace {

bool is_private(const std::string& text) {
  sockaddr_storage storage{};
  sockaddr_in four{};
  sockaddr_in6 six{};
  if (::inet_pton(AF_INET, text.c_str(), &four.sin_addr) == 1) {
    four.sin_family = AF_INET;
    std::memcpy(&storage, &four, sizeof four);
  } else {
    EXPECT_EQ(::inet_pton(AF_INET6, text.c_str(), &six.sin6_addr), 1) << text;
    six.sin6_family = AF_INET6;
    std::memcpy(&storage, &six, sizeof six);
  }
  return cli::is_private(reinterpret_cast<const sockaddr&>(storage));
}

TEST(PrivateAddress, IsOneThatTheInternetDoesNotRoute) {
  for (const char* address :
       {"10.0.0.1", "10.255.255.255", "172.16.0.1", "172.31.255.255", "192.168.0.1", "100.64.0.1",
        "100.127.255.255", "169.254.1.1", "127.0.0.1", "::1", "fc00::1", "fdff::1", "fe80::1",
        "::ffff:10.0.0.1"})
    EXPECT_TRUE(is_private(address)) << address;
}

TEST(PrivateAddress, IsNoOtherOne) {
  for (const char* address : {"9.255.255.255", "11.0.0.0", "172.15.255.255", "172.32.0.0",
                              "192.167.255.255", "192.169.0.0", "100.63.255.255", "100.128.0.0",
                              "8.8.8.8", "0.0.0.0", "2001:db8::1", "fb00::1", "::ffff:8.8.8.8"})
    EXPECT_FALSE(is_private(address)) << address;
}

TEST(PrivateAddress, IsOfTheInternetsFamiliesOnly) {
  EXPECT_FALSE(cli::is_private(sockaddr{.sa_family = AF_UNIX, .sa_data = {}}));
}

}  // namespace
}  // namespace runnel::cli
