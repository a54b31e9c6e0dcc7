// The tags of a repository with what they point to, as clients of ACR ask for them:
//
//   GET /acr/v1/{repository}/_tags?n=…&last=TAG
//
//   {"registry": HOST, "imageName": NAME, "tags": [{"name": TAG, "digest": …, "signed": false,
//    "changeableAttributes": {…}}]}
//
// In the order of their names, in pages with a Link to the next one. Whoever may read the
// repository's metadata sees them.
#pragma once

#include "registry/reply.h"
#include "registry/services.h"

namespace runnel::registry {

bool is_tag_list(const net::Request& request);

net::awaitable<Answer> handle_tag_list(Services& services, net::Request& request);

}  // namespace runnel::registry
