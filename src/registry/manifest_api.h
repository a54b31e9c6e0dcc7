// Manifests, tags, the catalog and referrers. The calls block.
#pragma once

#include <expected>

#include "registry/caller.h"
#include "registry/reply.h"
#include "registry/route.h"
#include "registry/services.h"

namespace runnel::registry {

Answer get_manifest(Services& services, const Route& route, const net::Request& request);
// The refusal when what a push is to, or one of its "?tag=", is no tag and no digest. To be asked
// before anything is changed for these names.
std::expected<void, Refusal> check_pushed_names(const Route& route, const net::Request& request);
// `bytes` is the request's body.
Answer put_manifest(Services& services, const Caller& caller, const Route& route,
                    const net::Request& request, Bytes bytes);
// By tag: the tag only. By digest: the manifest and all its tags.
Answer delete_manifest(Services& services, const Route& route);

Answer list_tags(Services& services, const Route& route, const net::Request& request);
// Those that the caller may see.
Answer list_repositories(Services& services, const Caller& caller, const net::Request& request);
Answer list_referrers(Services& services, const Route& route, const net::Request& request);

}  // namespace runnel::registry
