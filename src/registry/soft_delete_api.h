// What was deleted and can come back, and the deletion of whole repositories.
//
//   GET    /runnel/v1/_soft-delete?repository=R&n=&before=    {"deletions":[…]}, newest first,
//   paged
//                                                             by Link
//   GET    /runnel/v1/_soft-delete/ID
//   POST   /runnel/v1/_soft-delete/ID:restore                 {"manifests":1,"tags":["v1"],
//                                                              "keptTags":[]}
//   DELETE /runnel/v1/_soft-delete/ID                         forgets it now
//   DELETE /acr/v1/REPOSITORY                                 202
//
// Who may read a repository's metadata sees its deletions; restoring needs the right to push, and
// forgetting the right to delete. A deletion that one may not see is answered for as if absent.
#pragma once

#include "registry/reply.h"
#include "registry/services.h"

namespace runnel::registry {

bool is_soft_delete(const net::Request& request);

net::awaitable<Answer> handle_soft_delete(Services& services, net::Request& request);

}  // namespace runnel::registry
