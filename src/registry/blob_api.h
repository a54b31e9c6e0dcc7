// GET, HEAD and DELETE of blobs. The calls block.
#pragma once

#include "registry/reply.h"
#include "registry/route.h"
#include "registry/services.h"

namespace runnel::registry {

Answer get_blob(Services& services, const Route& route, const net::Request& request);
Answer delete_blob(Services& services, const Route& route);

// The digest in a path or parameter, or the refusal of one that is malformed.
std::expected<oci::Digest, Refusal> digest_of(std::string_view text);

}  // namespace runnel::registry
