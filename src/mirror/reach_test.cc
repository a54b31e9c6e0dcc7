#include "mirror/reach.h"

#include <gtest/gtest.h>

namespace runnel::mirror {
namespace {

TEST(Reach, OfARegistryOnLoopbackIsWhatAnyProcessHas) {
  const auto local = remote::Hosts().endpoint("127.0.0.1:5000");

  for (const char* url : {"http://127.0.0.1:5000/x", "http://localhost:6000/x", "http://[::1]/x",
                          "https://127.0.0.1/x", "https://cdn.example/x"})
    EXPECT_TRUE(check_reach(local, url)) << url;
  for (const char* url :
       {"http://169.254.169.254/latest/meta-data", "http://168.63.129.16/x", "http://10.0.0.1/x",
        "http://cdn.example/x", "https://10.0.0.1/x", "http://0.0.0.0/x", "nonsense", ""})
    EXPECT_FALSE(check_reach(local, url)) << url;
}

TEST(Reach, IsOnLoopbackWhereTheRegistryIsWhateverItIsCalled) {
  remote::Hosts hosts;
  hosts.set("registry.example", remote::HostSettings{.origin = "http://127.0.0.1:5000"});
  const auto tunnel = hosts.endpoint("registry.example");

  EXPECT_TRUE(check_reach(tunnel, "http://127.0.0.1:5000/x"));
  EXPECT_FALSE(check_reach(tunnel, "http://168.63.129.16/x"));
}

TEST(Reach, OfAnyOtherRegistryIsAsEverywhere) {
  remote::Hosts hosts;
  hosts.set("10.0.0.1:5000", remote::HostSettings{.plain_http = true});
  const auto site = hosts.endpoint("10.0.0.1:5000");
  const auto remote = hosts.endpoint("registry.example");

  EXPECT_TRUE(check_reach(site, "http://10.0.0.2:9000/x"));
  EXPECT_TRUE(check_reach(remote, "https://cdn.example/x"));
  EXPECT_FALSE(check_reach(remote, "http://cdn.example/x"));
  EXPECT_FALSE(check_reach(remote, "https://169.254.169.254/x"));
}

}  // namespace
}  // namespace runnel::mirror
