#include "remote/hosts.h"

#include <gtest/gtest.h>

namespace runnel::remote {
namespace {

TEST(Hosts, SpeakPlainHttpToLoopbackAndHttpsToEveryoneElse) {
  const Hosts hosts;

  EXPECT_EQ(hosts.endpoint("localhost:5000").url, "http://localhost:5000");
  EXPECT_EQ(hosts.endpoint("127.0.0.1:80").url, "http://127.0.0.1:80");
  EXPECT_EQ(hosts.endpoint("[::1]:80").url, "http://[::1]:80");
  EXPECT_EQ(hosts.endpoint("example.com").url, "https://example.com");
  EXPECT_EQ(hosts.endpoint("127.0.0.1.example.com").url, "https://127.0.0.1.example.com");
  EXPECT_EQ(hosts.endpoint("10.0.0.1:5000").url, "https://10.0.0.1:5000");
}

TEST(Hosts, SendDockerHubToItsRegistry) {
  EXPECT_EQ(Hosts().endpoint("docker.io").url, "https://registry-1.docker.io");
  EXPECT_EQ(Hosts().endpoint("docker.io").host, "docker.io");
}

TEST(Hosts, KeepToTheSettingsOfAHost) {
  Hosts hosts;
  hosts.set("example.com", {.plain_http = true});
  hosts.set("localhost:5001", {.plain_http = false});

  EXPECT_EQ(hosts.endpoint("example.com").url, "http://example.com");
  EXPECT_EQ(hosts.endpoint("localhost:5001").url, "https://localhost:5001");
  EXPECT_EQ(Hosts(HostSettings{.plain_http = true}).endpoint("other").url, "http://other");
}

TEST(LocalAddress, SeesThroughEverySpelling) {
  for (const char* local : {"127.0.0.1", "127.1", "0x7f000001", "2130706433", "localhost.",
                            "a.LOCALHOST:80", "10.1.2.3:5000", "172.16.0.1", "172.31.255.255",
                            "192.168.0.1", "169.254.169.254", "100.64.0.1", "0.0.0.0", "::1",
                            "[::1]:443", "[::ffff:127.0.0.1]", "fe80::1%eth0", "fd00::1", "[::]"})
    EXPECT_TRUE(is_local_address(local)) << local;
  for (const char* global : {"example.com", "8.8.8.8", "172.32.0.1", "172.15.0.1", "100.128.0.1",
                             "[2001:db8::1]:443", "localhost.example.com", "notlocalhost", ""})
    EXPECT_FALSE(is_local_address(global)) << global;
}

TEST(LocalAddress, PrivateNetworksAreNotLoopback) {
  EXPECT_FALSE(is_loopback("10.0.0.1"));
  EXPECT_FALSE(is_loopback("192.168.1.1:5000"));
  EXPECT_TRUE(is_loopback("127.8.9.10:5000"));
}

}  // namespace
}  // namespace runnel::remote
