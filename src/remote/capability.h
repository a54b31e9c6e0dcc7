// A bearer token that cannot be renewed, turned into one that can, for a day.
//
//   POST /oauth2/exchange   grant_type=access_token&access_token=…&image=DIGEST[&image=DIGEST…]
//   200  {"refresh_token": …, "expires_in": seconds}
//
// Only Runnel's own registry does this (docs/registry.md): what comes back reads these images with
// what belongs to them, in the repositories that the token was for, and nothing else.
#pragma once

#include <optional>
#include <string_view>

#include "base/clock.h"
#include "net/client.h"
#include "remote/credentials.h"
#include "remote/hosts.h"

namespace runnel::remote {

// Where to ask: when `realm`, the token server that the registry names, is the registry itself and
// looks like ours. The token is good there already, so nobody sees it who has not.
std::optional<std::string> exchange_address(const Endpoint& registry, std::string_view realm);

// What a registry answers with 200: a kIdentityToken that ends within a day. kInvalid for anything
// else.
Result<Credential> parse_capability(Bytes answer, WallTime now);

// A kIdentityToken with its end, for bearer.images. Blocks for at most `timeout`. kUnsupported when
// the server does not know the way, kDenied when it does not take the token.
Result<Credential> exchange_token(net::Client& client, const Endpoint& registry,
                                  const std::string& address, const Credential& bearer,
                                  const Clock& clock, Duration timeout);

}  // namespace runnel::remote
