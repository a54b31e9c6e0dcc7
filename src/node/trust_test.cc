#include "node/trust.h"

#include <gtest/gtest.h>

namespace runnel::node {
namespace {

// RFC 8032, test 1.
constexpr const char* kPrivate =
    "-----BEGIN PRIVATE KEY-----\n"
    "MC4CAQAwBQYDK2VwBCIEIJ1hsZ3v/VpguoRK9JLsLMREScVpezJpGXA7rAMcrn9g\n"
    "-----END PRIVATE KEY-----\n";
constexpr const char* kPublic = "MCowBQYDK2VwAyEA11qYAYKxCrfVS/7TyWQHOg7hcvPapiMlrwIaaPcHURo=";

artifact::Artifact sample() {
  artifact::Artifact artifact;
  artifact.subject.digest = oci::Digest::of(as_bytes("subject"));
  artifact.boot = oci::Digest::of(as_bytes("boot"));
  return artifact;
}

const oci::Digest kConfigDigest = oci::Digest::of(as_bytes("config"));

TEST(Trust, IsLoopbackByDefault) {
  const Trust trust;

  for (const char* host : {"127.0.0.1:5000", "localhost", "[::1]:5000", "127.9.9.9"})
    EXPECT_TRUE(trust.check(host, sample(), kConfigDigest)) << host;
  for (const char* host :
       {"registry.example", "10.0.0.1:5000", "localhost.evil.example", "loopback", "loopback:5000"})
    EXPECT_EQ(trust.check(host, sample(), kConfigDigest).error().code, Code::kDenied) << host;
}

TEST(Trust, IsWhatTheListSaysAndNothingElse) {
  Trust trust;
  trust.loopback = false;
  trust.hosts = {"127.0.0.1:5000"};

  EXPECT_TRUE(trust.check("127.0.0.1:5000", sample(), kConfigDigest));
  EXPECT_FALSE(trust.check("127.0.0.1:5001", sample(), kConfigDigest));
  EXPECT_FALSE(trust.check("localhost:5000", sample(), kConfigDigest));
}

TEST(Trust, TakesAnArtifactThatATrustedKeySignedFromAnyRegistry) {
  const auto key = artifact::Key::parse_private(kPrivate).value();
  Trust trust;
  trust.keys.push_back(parse_trusted_key(key.id(), kPublic).value());
  auto signed_one = sample();
  ASSERT_TRUE(artifact::sign(signed_one, kConfigDigest, key));
  auto changed = signed_one;
  changed.boot = oci::Digest::of(as_bytes("another boot blob"));

  EXPECT_TRUE(trust.check("registry.example", signed_one, kConfigDigest));
  EXPECT_FALSE(trust.check("registry.example", changed, kConfigDigest));
  EXPECT_FALSE(
      trust.check("registry.example", signed_one, oci::Digest::of(as_bytes("another config"))));
  EXPECT_FALSE(Trust().check("registry.example", signed_one, kConfigDigest));
}

// The name is whatever the registry wrote, and the reason ends in logs and on terminals.
TEST(Trust, QuotesTheNameOfAKeyThatItDoesNotKnow) {
  auto artifact = sample();
  artifact.key_id = "\x1b]0;a";

  const auto refused = Trust().check("registry.example", artifact, kConfigDigest);

  ASSERT_FALSE(refused);
  EXPECT_NE(refused.error().message.find(R"(key "\x1b]0;a", which signed)"), std::string::npos);
}

}  // namespace
}  // namespace runnel::node
