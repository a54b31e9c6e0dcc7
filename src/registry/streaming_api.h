// Conversion over HTTP, as clients of ACR know it:
//
//   GET  /acr/v1/REPO/_streaming               {"convertPushedImages":false}
//   POST /acr/v1/REPO/_streaming               {"convertPushedImages":true,…}: 202
//   GET  /acr/v1/REPO/_streaming/DIGEST        the image's last operation
//   POST /acr/v1/REPO/_streaming/DIGEST        202: asks for a conversion, or joins one
//   GET  /acr/v1/REPO/_operations/ID
//   POST /acr/v1/REPO/_operations/ID:cancel
//   GET  /mount/v1/REPO/_manifests/DIGEST      200 expanded, 409 expanding, 404 not enabled
//
// and our own:
//
//   GET    /runnel/v1/_operations?repository=&status=&n=&before=    newest first, paged by Link
//   POST   /acr/v1/REPO/_streaming {"holdTag":30}      seconds that a pushed tag waits for its
//   artifact POST   /runnel/v1/REPO/_streaming                  202: converts every tagged image
//   without one DELETE /runnel/v1/REPO/_artifact/DIGEST            of an image, or one artifact:
//   202 GET    /.well-known/runnel/converter-keys          what artifacts are signed with
//
// Looking needs the right to pull, asking and cancelling the right to push, deleting to delete.
#pragma once

#include "registry/reply.h"
#include "registry/services.h"

namespace runnel::registry {

bool is_streaming(const net::Request& request);

net::awaitable<Answer> handle_streaming(Services& services, net::Request& request,
                                        net::RequestBody& body);

}  // namespace runnel::registry
