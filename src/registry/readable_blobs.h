// Which blobs of which repositories may be read: what a GET of a blob asks the metadata. Clients
// read one layer in thousands of ranges, so the answer is remembered (remembered.h).
#pragma once

#include <expected>

#include "base/clock.h"
#include "meta/metadata_store.h"
#include "registry/remembered.h"
#include "registry/reply.h"
#include "registry/route.h"

namespace runnel::registry {

struct ReadableBlob {
  oci::Digest digest;
  uint64_t size = 0;
};

// 404 for a blob that the repository does not have, or that the caller may not know of.
Refusal blob_unknown(const Route& route);

// Any thread may call any method.
class ReadableBlobs {
 public:
  // The store must outlive it.
  explicit ReadableBlobs(meta::MetadataStore& metadata)
      : metadata_(metadata), remembered_(metadata) {}

  // The blob that the route names; the refusal when it is absent, or when the repository's
  // attributes forbid to read it.
  // It knows of everything that was committed before `received_at`.
  std::expected<ReadableBlob, Refusal> find(const Route& route, SteadyTime received_at);

 private:
  std::expected<ReadableBlob, Refusal> look_up(const Route& route);

  meta::MetadataStore& metadata_;
  Remembered<ReadableBlob> remembered_;
};

}  // namespace runnel::registry
