#include "oci/digest.h"

#include <openssl/evp.h>

#include <algorithm>

#include "base/prefetched.h"
#include "base/quote.h"

namespace runnel::oci {

namespace {

struct Known {
  Algorithm algorithm;
  std::string_view name;
  size_t hex_digits;
};
constexpr Known kKnown[] = {
    {Algorithm::kSha256, "sha256", 64},
    {Algorithm::kSha512, "sha512", 128},
};

const Known& known(Algorithm algorithm) {
  return kKnown[static_cast<size_t>(algorithm)];
}

// Fetched once: EVP_sha256() looks the implementation up at every use, which costs more than
// hashing a small blob.
const EVP_MD* implementation(Algorithm algorithm) {
  static const EVP_MD* const sha256 = EVP_MD_fetch(nullptr, "SHA256", nullptr);
  static const EVP_MD* const sha512 = EVP_MD_fetch(nullptr, "SHA512", nullptr);
  return algorithm == Algorithm::kSha256 ? sha256 : sha512;
}

bool is_lower_hex(char c) {
  return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'f');
}

}  // namespace

std::string_view to_string(Algorithm algorithm) {
  return known(algorithm).name;
}

Result<Algorithm> parse_algorithm(std::string_view text) {
  for (const auto& each : kKnown)
    if (each.name == text) return each.algorithm;
  return fail(Code::kInvalid, "digest algorithm {} is not sha256 or sha512", quote(text));
}

Result<Digest> Digest::parse(std::string_view text) {
  const auto colon = text.find(':');
  if (colon == std::string_view::npos)
    return fail(Code::kInvalid, "{} is not a digest (ALGORITHM:HEX)", quote(text));
  RUNNEL_TRY(const Algorithm algorithm, parse_algorithm(text.substr(0, colon)));
  const auto digits = text.substr(colon + 1);
  if (digits.size() != known(algorithm).hex_digits || !std::ranges::all_of(digits, is_lower_hex))
    return fail(Code::kInvalid, "{} is not a digest: {} has {} lower-case hex digits", quote(text),
                oci::to_string(algorithm), known(algorithm).hex_digits);
  return Digest(std::string(text));
}

Digest Digest::from_sha256(const std::array<std::byte, 32>& value) {
  return Digest("sha256:" + to_hex(value));
}

Digest Digest::of(Bytes bytes, Algorithm algorithm) {
  Digester digester(algorithm);
  digester.update(bytes);
  return digester.finish();
}

std::string_view Digest::hex() const {
  return std::string_view(text_).substr(text_.empty() ? 0 : text_.find(':') + 1);
}

Algorithm Digest::algorithm() const {
  return text_.starts_with("sha512:") ? Algorithm::kSha512 : Algorithm::kSha256;
}

Result<std::array<std::byte, 32>> Digest::sha256_value() const {
  if (empty() || algorithm() != Algorithm::kSha256)
    return fail(Code::kUnsupported, "\"{}\" is not a SHA-256 digest", text_);
  RUNNEL_TRY(const Buffer bytes, from_hex(hex()));
  std::array<std::byte, 32> value;
  std::ranges::copy(bytes, value.begin());
  return value;
}

void Digester::FreeContext::operator()(evp_md_ctx_st* context) const {
  EVP_MD_CTX_free(context);
}

Digester::Digester(Algorithm algorithm) : algorithm_(algorithm), context_(EVP_MD_CTX_new()) {
  RUNNEL_CHECK(context_ != nullptr);
  start();
}

void Digester::start() {
  RUNNEL_CHECK(EVP_DigestInit_ex(context_.get(), implementation(algorithm_), nullptr) == 1);
}

void Digester::update(Bytes bytes) {
  in_prefetched_pieces(bytes, [this](Bytes piece) {
    RUNNEL_CHECK(EVP_DigestUpdate(context_.get(), piece.data(), piece.size()) == 1);
  });
}

Digest Digester::finish() {
  std::array<std::byte, EVP_MAX_MD_SIZE> value;
  unsigned size = 0;
  RUNNEL_CHECK(EVP_DigestFinal_ex(context_.get(), reinterpret_cast<unsigned char*>(value.data()),
                                  &size) == 1);
  start();
  return Digest(fmt::format("{}:{}", oci::to_string(algorithm_), to_hex(Bytes(value).first(size))));
}

}  // namespace runnel::oci
