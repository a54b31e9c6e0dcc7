// Tokens and scope maps, as somebody made them at run time (documents of the metadata store).
//
// A token is a name with up to two passwords, which end at a time of their own so that one can be
// changed while the other is in use, and a scope map: what it may do.
#pragma once

#include <array>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "access/grant.h"
#include "base/clock.h"
#include "base/error.h"
#include "meta/metadata_store.h"

namespace runnel::registry {

struct ScopeMap {
  std::string name;
  std::string description;
  access::Grants grants;
  bool is_system = false;
};

struct TokenPassword {
  std::string hash;  // access::hash_secret; empty: there is none
  WallTime created;
  std::optional<WallTime> expires;
};

struct Token {
  std::string name;
  std::string scope_map;
  bool enabled = true;
  WallTime created;
  std::array<TokenPassword, 2> passwords;  // "password1", "password2"
  int64_t version = 0;                     // of what it was read from; 0: it is new
};

// How often to try again when others change the same.
inline constexpr int kPutAttempts = 10;

// Any thread; calls block. Names are 1 to 50 letters, digits, "-" and "_"; system scope maps cannot
// be changed.
class TokenStore {
 public:
  explicit TokenStore(meta::MetadataStore& metadata) : metadata_(metadata) {}

  // System ones included; empty when there is none.
  Result<std::optional<ScopeMap>> scope_map(std::string_view name) const;
  Result<std::vector<ScopeMap>> scope_maps() const;
  // Makes or replaces it.
  Result<void> put(const ScopeMap& map) const;
  // kConflict while a token uses it.
  Result<bool> delete_scope_map(std::string_view name) const;

  Result<std::optional<Token>> token(std::string_view name) const;
  Result<std::vector<Token>> tokens() const;
  // Makes it, or replaces what it was read from. kNotFound when its scope map does not exist;
  // kConflict when somebody else changed it since: read it again.
  Result<void> put(const Token& token) const;
  // Makes up password `number` (0 or 1) of the token, and returns it: it is not kept anywhere.
  // kNotFound when there is no such token.
  Result<std::string> generate_password(std::string_view name, size_t number, WallTime now,
                                        std::optional<WallTime> expires) const;
  Result<bool> delete_token(std::string_view name) const;

 private:
  meta::MetadataStore& metadata_;
};

// What tells a password of the token from all others that it has had or will have: part of the
// hash. Empty when this is none of its passwords at this time.
std::string mark_of(const Token& token, std::string_view password, WallTime now);
// Whether the token has the password with this mark at this time.
bool has_marked(const Token& token, std::string_view mark, WallTime now);

}  // namespace runnel::registry
