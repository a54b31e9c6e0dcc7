#include "artifact/signature.h"

#include <openssl/bio.h>
#include <openssl/evp.h>
#include <openssl/pem.h>

#include <vector>

#include "base/quote.h"
#include "codec/sha256.h"

namespace runnel::artifact {

namespace {

constexpr size_t kSignatureSize = 64;
constexpr int kTextVersion = 2;

struct FreeBio {
  void operator()(BIO* bio) const { BIO_free(bio); }
};
struct FreeDigestContext {
  void operator()(EVP_MD_CTX* context) const { EVP_MD_CTX_free(context); }
};
using DigestContext = std::unique_ptr<EVP_MD_CTX, FreeDigestContext>;

std::string signed_text(const Artifact& artifact, const oci::Digest& image_config) {
  auto text = fmt::format(
      "runnel-signature {}\nformat {} {}\nsubject {}\nconfig {}\nboot {} {}\nhead {} {}\n",
      kTextVersion, kFormat, kFormatVersion, artifact.subject.digest, image_config, artifact.boot,
      artifact.boot_size, artifact.head, artifact.head_size);
  for (const auto& layer : artifact.layers) {
    text += fmt::format("layer {} {} {} {} {}\n", layer.blob, layer.blob_size,
                        oci::Digest::from_sha256(layer.table_digest), layer.source, layer.diff_id);
  }
  return text + fmt::format("generation {}\n", artifact.generation);
}

const unsigned char* raw(Bytes bytes) {
  return reinterpret_cast<const unsigned char*>(bytes.data());
}

std::string to_base64(Bytes bytes) {
  std::vector<unsigned char> text(bytes.size() / 3 * 4 + 5);
  const int size = EVP_EncodeBlock(text.data(), raw(bytes), static_cast<int>(bytes.size()));
  return {text.begin(), text.begin() + size};
}

Result<Buffer> signature_of(const std::string& base64) {
  std::vector<unsigned char> bytes(base64.size() / 4 * 3 + 4);
  const int size =
      EVP_DecodeBlock(bytes.data(), raw(as_bytes(base64)), static_cast<int>(base64.size()));
  if (base64.size() != 88 || size < static_cast<int>(kSignatureSize)) {
    return fail(Code::kDenied, "artifact signature: {} characters of base64", base64.size());
  }
  const auto view = std::as_bytes(std::span(bytes)).first(kSignatureSize);
  return Buffer(view.begin(), view.end());
}

std::string text_of(BIO* bio) {
  char* text = nullptr;
  const auto size = BIO_get_mem_data(bio, &text);
  return {text, static_cast<size_t>(size)};
}

}  // namespace

Key::Key(evp_pkey_st* key) : key_(key, EVP_PKEY_free) {
  Buffer bytes(32);
  size_t size = bytes.size();
  RUNNEL_CHECK(
      EVP_PKEY_get_raw_public_key(key, reinterpret_cast<unsigned char*>(bytes.data()), &size) == 1);
  id_ = to_hex(codec::sha256(bytes)).substr(0, 16);
}

Result<Key> Key::parse_private(const std::string& pem) {
  const std::unique_ptr<BIO, FreeBio> bio(
      BIO_new_mem_buf(pem.data(), static_cast<int>(pem.size())));
  EVP_PKEY* key = PEM_read_bio_PrivateKey(bio.get(), nullptr, nullptr, nullptr);
  if (key == nullptr || EVP_PKEY_get_id(key) != EVP_PKEY_ED25519) {
    EVP_PKEY_free(key);
    return fail(Code::kInvalid,
                "not an Ed25519 private key; make one with: openssl genpkey -algorithm ed25519");
  }
  return Key(key);
}

Result<Key> Key::parse_public(const std::string& pem) {
  const std::unique_ptr<BIO, FreeBio> bio(
      BIO_new_mem_buf(pem.data(), static_cast<int>(pem.size())));
  EVP_PKEY* key = PEM_read_bio_PUBKEY(bio.get(), nullptr, nullptr, nullptr);
  if (key == nullptr || EVP_PKEY_get_id(key) != EVP_PKEY_ED25519) {
    EVP_PKEY_free(key);
    return fail(Code::kInvalid,
                "not an Ed25519 public key; make one with: openssl pkey -in KEY -pubout");
  }
  return Key(key);
}

Key Key::generate() {
  EVP_PKEY* key = EVP_PKEY_Q_keygen(nullptr, nullptr, "ED25519");
  RUNNEL_CHECK(key != nullptr);
  return Key(key);
}

std::string Key::private_pem() const {
  const std::unique_ptr<BIO, FreeBio> bio(BIO_new(BIO_s_mem()));
  RUNNEL_CHECK(
      PEM_write_bio_PrivateKey(bio.get(), key_.get(), nullptr, nullptr, 0, nullptr, nullptr) == 1);
  return text_of(bio.get());
}

std::string Key::public_pem() const {
  const std::unique_ptr<BIO, FreeBio> bio(BIO_new(BIO_s_mem()));
  RUNNEL_CHECK(PEM_write_bio_PUBKEY(bio.get(), key_.get()) == 1);
  return text_of(bio.get());
}

Result<void> sign(Artifact& artifact, const oci::Digest& image_config, const Key& private_key) {
  const auto text = signed_text(artifact, image_config);
  const DigestContext context(EVP_MD_CTX_new());
  Buffer signature(kSignatureSize);
  size_t size = signature.size();
  const bool done =
      EVP_DigestSignInit(context.get(), nullptr, nullptr, nullptr, private_key.get()) == 1 &&
      EVP_DigestSign(context.get(), reinterpret_cast<unsigned char*>(signature.data()), &size,
                     raw(as_bytes(text)), text.size()) == 1;
  if (!done) return fail(Code::kInvalid, "cannot sign with key {}", private_key.id());
  artifact.key_id = private_key.id();
  artifact.signature = to_base64(signature);
  return {};
}

Result<void> verify(const Artifact& artifact, const oci::Digest& image_config, const Key& key) {
  if (artifact.key_id != key.id()) {
    return fail(Code::kDenied, "artifact is signed by key {}, not {}", quote(artifact.key_id),
                key.id());
  }
  RUNNEL_TRY(const Buffer signature, signature_of(artifact.signature));
  const auto text = signed_text(artifact, image_config);
  const DigestContext context(EVP_MD_CTX_new());
  const bool good =
      EVP_DigestVerifyInit(context.get(), nullptr, nullptr, nullptr, key.get()) == 1 &&
      EVP_DigestVerify(context.get(), raw(signature), signature.size(), raw(as_bytes(text)),
                       text.size()) == 1;
  if (!good) {
    return fail(Code::kDenied,
                "artifact signature by key {} does not verify: it was changed, or an earlier "
                "version of runnel signed it; then sign it again: runnel convert --key",
                key.id());
  }
  return {};
}

}  // namespace runnel::artifact
