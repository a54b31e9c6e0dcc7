#include "oci/reference.h"

#include <gtest/gtest.h>

namespace runnel::oci {
namespace {

const std::string kDigest = "sha256:" + std::string(64, 'a');

std::string full(std::string_view text) {
  const auto reference = Reference::parse(text);
  return reference ? reference->to_string() : "refused: " + reference.error().message;
}

TEST(Reference, FillsInWhatDockerFillsIn) {
  EXPECT_EQ(full("python"), "docker.io/library/python:latest");
  EXPECT_EQ(full("python:3.12"), "docker.io/library/python:3.12");
  EXPECT_EQ(full("docker.io/python"), "docker.io/library/python:latest");
  EXPECT_EQ(full("index.docker.io/a/b"), "docker.io/a/b:latest");
  EXPECT_EQ(full("bitnami/redis"), "docker.io/bitnami/redis:latest");
}

TEST(Reference, KnowsAHostFromARepository) {
  EXPECT_EQ(full("localhost/a"), "localhost/a:latest");
  EXPECT_EQ(full("localhost:5000/a"), "localhost:5000/a:latest");
  EXPECT_EQ(full("127.0.0.1:5000/a/b:1"), "127.0.0.1:5000/a/b:1");
  EXPECT_EQ(full("[::1]:5000/a"), "[::1]:5000/a:latest");
  EXPECT_EQ(full("registry.example/a"), "registry.example/a:latest");
  EXPECT_EQ(full("HOST/a"), "HOST/a:latest");
}

TEST(Reference, KeepsTagAndDigest) {
  const auto both = Reference::parse("localhost:5000/a:v1@" + kDigest);
  ASSERT_TRUE(both);
  EXPECT_EQ(both->host, "localhost:5000");
  EXPECT_EQ(both->repository, "a");
  EXPECT_EQ(both->tag, "v1");
  EXPECT_EQ(both->target(), kDigest);

  const auto only_digest = Reference::parse("localhost/a@" + kDigest);
  ASSERT_TRUE(only_digest);
  EXPECT_EQ(only_digest->tag, "");
  EXPECT_EQ(only_digest->to_string(), "localhost/a@" + kDigest);
}

TEST(Reference, RefusesWhatIsNoImageName) {
  for (const auto* text :
       {"", ":", "a:", "a@", "a@sha256:1", "/a", "a/", "a//b", "Python", "a b", "host.x:port/a",
        "host.x:123456/a", "[::1/a", "a:tag:tag", "../a", "localhost/../etc", "a_/b", "-h.x/a"})
    EXPECT_FALSE(Reference::parse(text)) << text;
  EXPECT_FALSE(Reference::parse(std::string(2000, 'a')));
  EXPECT_FALSE(Reference::parse(std::string(250, 'a')));  // too long with "library/"
}

TEST(Repository, HasTheGrammarOfTheSpecification) {
  for (const auto* good : {"a", "a/b", "a.b", "a_b", "a__b", "a-b", "a---b", "0/1/2"})
    EXPECT_TRUE(is_valid_repository(good)) << good;
  for (const auto* bad :
       {"", "/", "a/", "/a", "a..b", "a___b", "a._b", "A", "a_", ".a", "a/.b", "a b", "a%2fb"})
    EXPECT_FALSE(is_valid_repository(bad)) << bad;
  EXPECT_TRUE(is_valid_repository(std::string(255, 'a')));
  EXPECT_FALSE(is_valid_repository(std::string(256, 'a')));
}

TEST(Tag, HasTheGrammarOfTheSpecification) {
  for (const auto* good : {"latest", "_", "V1.0-rc_1", "0"}) EXPECT_TRUE(is_valid_tag(good));
  for (const auto* bad : {"", ".a", "-a", "a/b", "a:b", "a b"}) EXPECT_FALSE(is_valid_tag(bad));
  EXPECT_TRUE(is_valid_tag(std::string(128, 'a')));
  EXPECT_FALSE(is_valid_tag(std::string(129, 'a')));
}

TEST(RegistryHost, IsAnotherOneForDockerHubOnly) {
  EXPECT_EQ(registry_host("docker.io"), "registry-1.docker.io");
  EXPECT_EQ(registry_host("localhost:5000"), "localhost:5000");
}

}  // namespace
}  // namespace runnel::oci
