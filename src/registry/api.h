// The distribution API (OCI distribution-spec 1.1, and the parts of Docker's that clients use).
#pragma once

#include "net/server.h"
#include "registry/services.h"

namespace runnel::registry {

// Finds the resource, checks names and methods, and calls its handler: blobs in blob_api.h, uploads
// in upload_api.h, manifests and lists in manifest_api.h. Any thread.
class Api final : public net::Handler {
 public:
  // `services` must outlive this.
  explicit Api(Services& services) : services_(services) {}

  net::awaitable<net::Response> handle(net::Request& request, net::RequestBody& body) override;
  // GETs of blobs and manifests where everyone may read and both stores look up at once: most
  // requests of a busy registry are ranges of blobs.
  std::optional<net::Response> answer_at_once(net::Request& request) override;

 private:
  Services& services_;
};

}  // namespace runnel::registry
