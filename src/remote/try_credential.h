// Whether a registry takes a user and password at all, before somebody stores them.
#pragma once

#include "base/error.h"
#include "net/client.h"
#include "remote/credentials.h"
#include "remote/hosts.h"

namespace runnel::remote {

// GET /v2/, and what its challenge asks for. Success too when the registry asks for nothing.
// kDenied when it refuses the credential. Blocks for a bounded time.
Result<void> try_credential(net::Client& client, const Endpoint& endpoint,
                            const Credential& credential);

}  // namespace runnel::remote
