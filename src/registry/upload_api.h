// Pushing blobs: start, append, ask, finish, cancel, mount.
//
// Coroutines, because bodies come in piece by piece; what blocks runs on the writers' pool.
#pragma once

#include "registry/caller.h"
#include "registry/reply.h"
#include "registry/route.h"
#include "registry/services.h"

namespace runnel::registry {

// POST: mounts a blob, takes a whole one, or begins an upload.
net::awaitable<Answer> start_upload(Services& services, const Caller& caller, const Route& route,
                                    const net::Request& request, net::RequestBody& body);
// PATCH
net::awaitable<Answer> append_upload(Services& services, const Caller& caller, const Route& route,
                                     const net::Request& request, net::RequestBody& body);
// PUT, with or without the last bytes.
net::awaitable<Answer> finish_upload(Services& services, const Caller& caller, const Route& route,
                                     const net::Request& request, net::RequestBody& body);
// GET and DELETE block.
Answer upload_status(Services& services, const Caller& caller, const Route& route);
Answer cancel_upload(Services& services, const Caller& caller, const Route& route);

}  // namespace runnel::registry
