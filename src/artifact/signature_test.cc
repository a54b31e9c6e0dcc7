#include "artifact/signature.h"

#include <gtest/gtest.h>
#include <openssl/evp.h>
#include <openssl/pem.h>

#include <array>
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

// Base64, as in the annotation.
std::string sign_text(const std::string& text, const std::string& private_pem) {
  BIO* pem = BIO_new_mem_buf(private_pem.data(), static_cast<int>(private_pem.size()));
  EVP_PKEY* key = PEM_read_bio_PrivateKey(pem, nullptr, nullptr, nullptr);
  BIO_free(pem);
  EVP_MD_CTX* context = EVP_MD_CTX_new();
  std::array<unsigned char, 64> signature{};
  size_t size = signature.size();
  EXPECT_EQ(EVP_DigestSignInit(context, nullptr, nullptr, nullptr, key), 1);
  EXPECT_EQ(EVP_DigestSign(context, signature.data(), &size,
                           reinterpret_cast<const unsigned char*>(text.data()), text.size()),
            1);
  EVP_MD_CTX_free(context);
  EVP_PKEY_free(key);
  std::array<unsigned char, 89> base64{};
  EVP_EncodeBlock(base64.data(), signature.data(), static_cast<int>(size));
  return {base64.begin(), base64.end() - 1};
}

oci::Digest digest(const std::string& text) {
  return oci::Digest::of(as_bytes(text));
}

class SignatureTest : public testing::Test {
 protected:
  SignatureTest() {
    artifact_.subject.digest = digest("subject");
    artifact_.boot = digest("boot");
    artifact_.boot_size = 5000;
    artifact_.head = digest("head");
    artifact_.head_size = 1000;
    artifact_.generation = 3;
    for (const std::string name : {"a", "b"}) {
      ArtifactLayer layer;
      layer.source = digest(name + " compressed");
      layer.diff_id = digest(name + " plain");
      layer.blob = digest(name);
      layer.blob_size = 7000;
      layer.table_digest = codec::sha256(as_bytes(name + " table"));
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
      [](Artifact& a) { a.boot_size += 1; },
      [](Artifact& a) { a.head = digest("other"); },
      [](Artifact& a) { a.head_size += 1; },
      [](Artifact& a) { a.generation += 1; },
      [](Artifact& a) { a.layers[1].blob = digest("other"); },
      [](Artifact& a) { a.layers[1].blob_size += 1; },
      [](Artifact& a) { a.layers[0].table_digest = codec::sha256(as_bytes("other")); },
      [](Artifact& a) { a.layers[0].source = digest("other"); },
      [](Artifact& a) { a.layers[0].diff_id = digest("other"); },
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

// Version 1 said nothing of head and tables.
TEST_F(SignatureTest, DeniesAnEarlierVersionsSignatureAndSaysWhatToDo) {
  auto text = fmt::format("runnel-artifact 1\nsubject {}\nconfig {}\nboot {}\n",
                          artifact_.subject.digest, config_, artifact_.boot);
  for (const auto& layer : artifact_.layers) text += fmt::format("layer {}\n", layer.blob);
  text += fmt::format("generation {}\n", artifact_.generation);
  artifact_.signature = sign_text(text, pair_.private_pem);

  const auto verified = verify(artifact_, config_, key_);

  EXPECT_EQ(verified.error().code, Code::kDenied);
  EXPECT_NE(verified.error().message.find("runnel convert --key"), std::string::npos);
}

TEST_F(SignatureTest, IsOfTheTextThatTheHeaderSays) {
  auto text = fmt::format(
      "runnel-signature 2\nformat runnel-erofs 1\nsubject {}\nconfig {}\nboot {} 5000\n"
      "head {} 1000\n",
      digest("subject"), config_, digest("boot"), digest("head"));
  for (const std::string name : {"a", "b"}) {
    text += fmt::format("layer {} 7000 {} {} {}\n", digest(name), digest(name + " table"),
                        digest(name + " compressed"), digest(name + " plain"));
  }
  EXPECT_EQ(artifact_.signature, sign_text(text + "generation 3\n", pair_.private_pem));
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
