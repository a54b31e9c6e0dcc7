#include "access/secret.h"

#include <openssl/crypto.h>
#include <sys/random.h>

#include <array>

#include "access/base64url.h"
#include "base/bytes.h"
#include "codec/sha256.h"

namespace runnel::access {

std::string make_secret() {
  std::array<std::byte, 32> bytes;
  RUNNEL_CHECK(::getrandom(bytes.data(), bytes.size(), 0) == ssize_t{bytes.size()});
  return to_base64url(as_text(bytes));
}

std::string hash_secret(std::string_view secret) {
  return to_hex(codec::sha256(as_bytes(secret)));
}

bool same_secret(std::string_view a, std::string_view b) {
  return a.size() == b.size() && CRYPTO_memcmp(a.data(), b.data(), a.size()) == 0;
}

}  // namespace runnel::access
