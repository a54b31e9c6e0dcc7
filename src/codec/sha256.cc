#include "codec/sha256.h"

#include <openssl/evp.h>

#include "base/prefetched.h"

namespace runnel::codec {
namespace {

// Fetched once: looking the algorithm up anew for each digest halves the speed on small inputs.
const EVP_MD* algorithm() {
  static const EVP_MD* const fetched = EVP_MD_fetch(nullptr, "SHA256", nullptr);
  RUNNEL_CHECK(fetched != nullptr);
  return fetched;
}

}  // namespace

void Sha256::FreeContext::operator()(evp_md_ctx_st* context) const {
  EVP_MD_CTX_free(context);
}

Sha256::Sha256() : context_(EVP_MD_CTX_new()) {
  RUNNEL_CHECK(context_ != nullptr);
  RUNNEL_CHECK(EVP_DigestInit_ex2(context_.get(), algorithm(), nullptr) == 1);
}

void Sha256::update(Bytes bytes) {
  in_prefetched_pieces(bytes, [this](Bytes piece) {
    RUNNEL_CHECK(EVP_DigestUpdate(context_.get(), piece.data(), piece.size()) == 1);
  });
}

Sha256Value Sha256::finish() {
  Sha256Value value;
  unsigned int size = 0;
  auto* out = reinterpret_cast<unsigned char*>(value.data());
  RUNNEL_CHECK(EVP_DigestFinal_ex(context_.get(), out, &size) == 1 && size == value.size());
  RUNNEL_CHECK(EVP_DigestInit_ex2(context_.get(), nullptr, nullptr) == 1);
  return value;
}

Sha256Value sha256(Bytes bytes) {
  // One context a thread, so that the digest of a small chunk allocates nothing.
  thread_local Sha256 hash;
  hash.update(bytes);
  return hash.finish();
}

}  // namespace runnel::codec
