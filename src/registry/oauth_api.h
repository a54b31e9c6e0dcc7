// The Docker token flow, served by the registry itself.
//
//   GET  /oauth2/token?service=&scope=…         with Basic credentials, or without for what
//   everyone may do POST /oauth2/token      grant_type=password|refresh_token, username, password,
//   refresh_token, scope POST /oauth2/exchange   grant_type=access_token, access_token=…
//
// exchange turns an access token into a refresh token that is limited to pulling the repositories
// of the access token and lives for a day: what a node that saw one request of a pod goes on with.
// https://distribution.github.io/distribution/spec/auth/token/, …/auth/oauth/
#pragma once

#include "registry/gate.h"
#include "registry/reply.h"

namespace runnel::registry {

// Whether the path is one of these.
bool is_oauth(std::string_view path);

net::awaitable<Answer> handle_oauth(Gate& gate, const Config& config, const net::Request& request,
                                    net::RequestBody& body);

}  // namespace runnel::registry
