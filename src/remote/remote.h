// remote/ is the client side of the OCI distribution protocol: one registry, one repository, one
// call at a time, with credentials, tokens, retries and every check of what comes back.
//
// It does not hold: references and manifests (oci/), HTTP itself (net/), the node's many ranged
// reads at once (fetch/), a registry (registry/).
// A process makes one Gateway; a Repository is cheap and made where it is needed. All of both may
// be called from any thread but the net::Client's own; calls block, for a bounded time.
#pragma once

#include "remote/credentials.h"    // IWYU pragma: export
#include "remote/docker_config.h"  // IWYU pragma: export
#include "remote/gateway.h"        // IWYU pragma: export
#include "remote/hosts.h"          // IWYU pragma: export
#include "remote/repository.h"     // IWYU pragma: export
