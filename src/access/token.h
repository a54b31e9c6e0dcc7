// What the registry signs when it has seen a password, and believes afterwards: JSON Web Tokens
// (RFC 7519) with HMAC-SHA-256 under a key that never leaves the registry. The header is compared
// with the one that is written here, so there is no algorithm for an attacker to choose.
//
//   iss, aud   the registry's name          sub  "user:alice", "token:ci", "anonymous"
//   iat, nbf, exp  seconds since 1970       use  "access" or "refresh"
//   access     [{"type","name","actions"}]: what it is limited to; absent: not limited
//   images     [DIGEST]: of that, only these manifests and what belongs to them; absent: all of it
//   pwd        the mark of the password that it came of (registry/token_store.h); absent: of a
//   person
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "access/scope.h"
#include "base/clock.h"
#include "base/error.h"

namespace runnel::access {

// Who asks. The name is only meaningful together with the kind.
struct Principal {
  enum class Kind : uint8_t { kAnonymous, kUser, kToken };

  Principal() = default;
  Principal(Kind of, std::string called) : kind(of), name(std::move(called)) {}

  Kind kind = Kind::kAnonymous;
  std::string name;

  bool operator==(const Principal&) const = default;
};

// "user:alice", "token:ci", "anonymous".
std::string to_string(const Principal& principal);

struct Claims {
  enum class Use : uint8_t { kAccess, kRefresh };

  Claims() = default;

  Principal principal;
  Use use = Use::kAccess;
  WallTime expires;
  // What it is limited to, besides what the principal may do anyway; none: nothing.
  std::optional<std::vector<Scope>> limit;
  // Digests of manifests, kMaxImages at most; empty: not limited to images.
  std::vector<std::string> images;
  // The mark of the token's password that it came of; empty: it came of none, or was signed by a
  // program that did not say.
  std::string password_mark;
};

inline constexpr size_t kMaxImages = 32;

// Thread-safe.
class TokenSigner {
 public:
  // `issuer` names the registry, and is what tokens are for. `key` has 32 bytes or more.
  TokenSigner(std::string key, std::string issuer)
      : key_(std::move(key)), issuer_(std::move(issuer)) {}

  std::string sign(const Claims& claims, WallTime now) const;
  // kDenied, with the reason, for a token that was not signed here, is not for here, has expired or
  // is not valid yet (with a minute's tolerance between registries' clocks).
  Result<Claims> verify(std::string_view token, WallTime now) const;

 private:
  std::string mac(std::string_view text) const;

  const std::string key_;
  const std::string issuer_;
};

// The key in the file at `path`, which is made (mode 0600, durable) if there is none. Processes
// that start at the same time agree on one.
Result<std::string> load_or_make_key(const std::string& path);

}  // namespace runnel::access
