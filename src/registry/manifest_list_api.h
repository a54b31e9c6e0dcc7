// All manifests of a repository, those that nothing leads to included:
//
//   GET /acr/v1/{repository}/_manifests?n=…&last=DIGEST
//   {"registry", "imageName", "manifests": [{"digest", "imageSize", "mediaType", "tags",
//                                            "changeableAttributes"}]}
//
// In the order of their digests, in pages with a Link to the next one; for who may read metadata.
#pragma once

#include "registry/reply.h"
#include "registry/services.h"

namespace runnel::registry {

bool is_manifest_list(const net::Request& request);
net::awaitable<Answer> handle_manifest_list(Services& services, net::Request& request);

}  // namespace runnel::registry
