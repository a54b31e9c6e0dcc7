// What may be switched off, over the API that clients of ACR know:
//
//   GET   /acr/v1/REPOSITORY                       {"imageName":…,"changeableAttributes":{…}}
//   GET   /acr/v1/REPOSITORY/_tags/TAG             {…,"tag":{"name":…,"digest":…,
//                                                  "changeableAttributes":{…}}}
//   GET   /acr/v1/REPOSITORY/_manifests/DIGEST     {…,"manifest":{"digest":…,…}}
//   PATCH any of them {"writeEnabled":false}       200; what is not named stays as it is
//
// To look needs metadata/read, to change metadata/write.
#pragma once

#include "registry/reply.h"
#include "registry/services.h"

namespace runnel::registry {

bool is_attributes(const net::Request& request);

net::awaitable<Answer> handle_attributes(Services& services, net::Request& request,
                                         net::RequestBody& body);

}  // namespace runnel::registry
