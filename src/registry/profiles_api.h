// What nodes tell of the starts of images.
//
//   POST /runnel/v1/REPOSITORY/_profiles/DIGEST?node=ID   one node's profile: artifact/profile.h
//        204; the node's earlier vote for the image is replaced
//   GET  /runnel/v1/REPOSITORY/_profiles/DIGEST           what the votes have in common, in the
//   same
//        200                                              form, with "votes": how many there are
//
// DIGEST is the manifest of one platform. Both need what a pull of the image needs; to tell, one
// must have logged in besides, where there is authentication.
#pragma once

#include "registry/reply.h"
#include "registry/services.h"

namespace runnel::registry {

bool is_profiles(std::string_view path);

net::awaitable<Answer> handle_profiles(Services& services, net::Request& request,
                                       net::RequestBody& body);

}  // namespace runnel::registry
