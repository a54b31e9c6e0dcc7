// What was deleted and can come back, as clients of ACR ask for it (our own way:
// soft_delete_api.h):
//
//   GET  /acr/v1/_deleted/_catalog                     {"repositories": [NAME]}, by name
//   GET  /acr/v1/_deleted/REPO/_manifests              {"manifests": [{"digest", "tags",
//                                                      "deletedAt"}]}
//   GET  /acr/v1/_deleted/REPO/_tags                   {"tags": [{"tag", "digest", "deletedAt"}]}
//   POST /acr/v1/_deleted/REPO/_manifests/DIGEST?force=   {"tag": TAG}: undoes the newest deletion
//                                                      that has this digest, and this tag
//
// The last deletion comes last. A request looks at 10,000 deletions at most.
#pragma once

#include "registry/reply.h"
#include "registry/services.h"

namespace runnel::registry {

bool is_deleted(const net::Request& request);

net::awaitable<Answer> handle_deleted(Services& services, net::Request& request,
                                      net::RequestBody& body);

}  // namespace runnel::registry
