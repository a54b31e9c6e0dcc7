// One conversation with a token server.
//
//   GET  REALM?service=…&scope=…&scope=…                    with Basic, or with nothing
//   POST REALM  grant_type=refresh_token&refresh_token=…    with an identity token (OAuth 2)
//   200  {"token": …, "access_token": …, "expires_in": seconds, "issued_at": …}
//
// (distribution: docs/spec/auth/token.md and oauth.md.) issued_at is not used: the two clocks need
// not agree, so a token's life is counted from when it arrived.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "base/clock.h"
#include "net/body.h"
#include "net/client.h"
#include "remote/credentials.h"
#include "remote/hosts.h"

namespace runnel::remote {

// What a request wants to do, as token servers write it: "repository:a/b:pull".
class Scope {
 public:
  static Scope pull(std::string_view repository);
  static Scope push(std::string_view repository);    // pull and push
  static Scope remove(std::string_view repository);  // pull, push and delete
  // What somebody else asks for; a part has no space and no control character, or is left out.
  static Scope of(const std::vector<std::string_view>& parts);
  // This one and, for a mount, reading another repository.
  Scope and_pull(std::string_view repository) const;

  const std::vector<std::string>& parts() const { return parts_; }
  // For messages and as a key.
  std::string text() const;

 private:
  std::vector<std::string> parts_;
};

struct TokenRequest {
  std::string realm;
  std::string service;  // empty when the challenge named none
  Scope scope;
  std::optional<Credential> credential;
};

struct Token {
  Secret value;
  Duration lifetime{};
};

// What a server answers with 200. kInvalid without a token that a header line can have; it lives
// for more than nothing and at most for a day.
Result<Token> parse_token(Bytes answer);

// Blocks for at most `timeout`. kDenied when the server refuses the credential or is one that must
// not see it (remote/url.h); kUnavailable when it fails in a way that may pass.
Result<Token> fetch_token(net::Client& client, const Endpoint& registry,
                          const TokenRequest& request, Duration timeout);
// The same for coroutines, without blocking. The client must live until it has returned.
net::awaitable<Result<Token>> fetch_token_async(net::Client& client, Endpoint registry,
                                                TokenRequest request, Duration timeout);

}  // namespace runnel::remote
