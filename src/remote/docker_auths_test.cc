#include "remote/docker_auths.h"

#include <gtest/gtest.h>

#include <boost/json.hpp>

namespace runnel::remote {
namespace {

const Credential kNew{.user = "me", .secret = Secret("new")};

boost::json::object config_of(std::string_view json) {
  return parse_docker_config(as_bytes(json)).value();
}

// `docker login`, and an older one, left theirs under these names.
TEST(DockerAuths, ALoginGoesInThePlaceOfOneThatIsWrittenInAnotherWay) {
  auto config = config_of(R"({"auths": {
      "https://index.docker.io/v1/": {"username": "me", "password": "old"},
      "https://registry.example": {"username": "me", "password": "old"},
      "registry.example/team": {"username": "team", "password": "1"}}})");

  set_login(config, "docker.io", kNew);
  set_login(config, "Registry.Example", kNew);

  EXPECT_EQ(login_in(config, "docker.io", "library/nginx").value(), kNew);
  EXPECT_EQ(login_in(config, "registry.example", "app").value(), kNew);
  EXPECT_EQ(login_in(config, "registry.example", "team/app").value()->user, "team");
  EXPECT_EQ(config["auths"].get_object().size(), 3u);
}

TEST(DockerAuths, ALogoutForgetsEveryLoginToTheHost) {
  auto config = config_of(R"({"auths": {"https://index.docker.io/v1/": {"auth": "bWU6b2xk"},
                                        "docker.io": {"auth": "bWU6b2xk"},
                                        "a.io": {"auth": "bWU6b2xk"}}})");

  EXPECT_TRUE(erase_login(config, "docker.io"));

  EXPECT_EQ(login_in(config, "docker.io", "").value(), std::nullopt);
  EXPECT_FALSE(erase_login(config, "docker.io"));
  EXPECT_TRUE(login_in(config, "a.io", "").value());
}

// Of several ways to write a host the first counts.
TEST(DockerAuths, ALogoutLeavesTheOthersInTheirOrder) {
  auto config = config_of(R"({"auths": {"a.io": {}, "b.io": {"username": "1", "password": "1"},
                                        "https://b.io": {"username": "2", "password": "2"}}})");

  ASSERT_TRUE(erase_login(config, "a.io"));

  EXPECT_EQ(login_in(config, "b.io", "").value()->user, "1");
}

TEST(DockerAuths, KeepsEveryKindOfCredential) {
  boost::json::object config;
  for (const auto kind :
       {Credential::Kind::kPassword, Credential::Kind::kIdentityToken, Credential::Kind::kBearer}) {
    const bool named = kind == Credential::Kind::kPassword;
    const Credential credential{.user = named ? "me" : "", .secret = Secret("s"), .kind = kind};
    set_login(config, "a.io:5000", credential);
    EXPECT_EQ(login_in(config, "a.io:5000", "b").value(), credential);
  }
}

TEST(DockerAuths, DockerHubHasOneNameForHelpers) {
  EXPECT_EQ(server_of("docker.io"), "https://index.docker.io/v1/");
  EXPECT_EQ(server_of("registry-1.docker.io"), "https://index.docker.io/v1/");
  EXPECT_EQ(server_of("a.io:5000"), "a.io:5000");
}

}  // namespace
}  // namespace runnel::remote
