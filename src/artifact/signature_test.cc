#include "artifact/signature.h"

#include <gtest/gtest.h>
#include <openssl/evp.h>
#include <openssl/pem.h>

#include <functional>

namespace runnel::artifact {
namespace {

struct KeyPair {
  std::string private_pem;
  std::string public_pem;
};

std::string text_of(BIO* bio) {
  char* data = nullptr;
  const auto size = BIO_get_mem_data(bio, &data);
  std::string text(data, static_cast<size_t>(size));
  BIO_free(bio);
  return text;
}

KeyPair generate(const char* type) {
  EVP_PKEY* key = EVP_PKEY_Q_keygen(nullptr, nullptr, type);
  BIO* secret = BIO_new(BIO_s_mem());
  BIO* open = BIO_new(BIO_s_mem());
  PEM_write_bio_PrivateKey(secret, key, nullptr, nullptr, 0, nullptr, nullptr);
  PEM_write_bio_PUBKEY(open, key);
  EVP_PKEY_free(key);
  return {.private_pem = text_of(secret), .public_pem = text_of(open)};
}

oci::Digest digest(const std::string& text) {
  return oci::Digest::of(as_bytes(text));
}

class SignatureTest : public testing::Test {
 protected:
  SignatureTest() {
    artifact_.subject.digest = digest("subject");
    artifact_.boot = digest("boot");
    artifact_.generation = 3;
    for (const auto* name : {"a", "b"}) {
      ArtifactLayer layer;
      layer.blob = digest(name);
      artifact_.layers.push_back(layer);
    }
    EXPECT_TRUE(sign(artifact_, config_, Key::parse_private(pair_.private_pem).value()));
  }

  KeyPair pair_ = generate("ED25519");
  Key key_ = Key::parse_public(pair_.public_pem).value();
  oci::Digest config_ = digest("config");
  Artifact artifact_;
};

TEST_F(SignatureTest, VerifiesWithThePublicKey) {
  EXPECT_EQ(artifact_.key_id.size(), 16u);
  EXPECT_EQ(artifact_.key_id, key_.id());
  const auto verified = verify(artifact_, config_, key_);
  EXPECT_TRUE(verified) << verified.error().message;
}

TEST_F(SignatureTest, DeniesEveryChangedField) {
  const std::vector<std::function<void(Artifact&)>> changes = {
      [](Artifact& a) { a.subject.digest = digest("other"); },
      [](Artifact& a) { a.boot = digest("other"); },
      [](Artifact& a) { a.generation += 1; },
      [](Artifact& a) { a.layers[1].blob = digest("other"); },
      [](Artifact& a) { std::swap(a.layers[0], a.layers[1]); },
      [](Artifact& a) { a.layers.pop_back(); },
      [](Artifact& a) { a.layers.push_back(a.layers[1]); },
  };
  for (size_t i = 0; i < changes.size(); ++i) {
    auto changed = artifact_;
    changes[i](changed);
    EXPECT_EQ(verify(changed, config_, key_).error().code, Code::kDenied) << i;
  }
  EXPECT_EQ(verify(artifact_, digest("other"), key_).error().code, Code::kDenied);
}

TEST_F(SignatureTest, DeniesAnotherKeyEvenUnderThisKeysName) {
  const auto other = Key::parse_public(generate("ED25519").public_pem).value();
  EXPECT_EQ(verify(artifact_, config_, other).error().code, Code::kDenied);

  artifact_.key_id = other.id();
  EXPECT_EQ(verify(artifact_, config_, other).error().code, Code::kDenied);
}

TEST_F(SignatureTest, DeniesMalformedBase64) {
  const auto good = artifact_.signature;
  ASSERT_EQ(good.size(), 88u);
  for (const auto& bad :
       {std::string(), std::string("AAAA"), std::string(88, '!'), std::string(88, '='),
        good.substr(1), good + "AAAA", std::string(100'000, 'A')}) {
    artifact_.signature = bad;
    EXPECT_EQ(verify(artifact_, config_, key_).error().code, Code::kDenied) << bad.size();
  }
}

TEST_F(SignatureTest, RefusesKeyFilesThatAreNotEd25519) {
  const auto other = generate("X25519");
  for (const auto& pem : {std::string(), std::string("no key"), other.private_pem, other.public_pem,
                          pair_.public_pem}) {
    EXPECT_EQ(Key::parse_private(pem).error().code, Code::kInvalid);
  }
  for (const auto& pem : {std::string(), other.public_pem, pair_.private_pem}) {
    EXPECT_EQ(Key::parse_public(pem).error().code, Code::kInvalid);
  }
}

TEST(GeneratedKeys, ComeBackFromTheirPem) {
  const auto key = Key::generate();

  EXPECT_EQ(Key::parse_private(key.private_pem())->id(), key.id());
  EXPECT_EQ(Key::parse_public(key.public_pem())->id(), key.id());
  EXPECT_NE(Key::generate().id(), key.id());
}

}  // namespace
}  // namespace runnel::artifact
