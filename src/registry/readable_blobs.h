// Which blobs of which repositories may be read: what a GET of a blob asks the metadata.
//
// Clients read one layer in thousands of ranges, so the answer is kept as long as the metadata says
// that nobody, in whatever process, has changed anything since: what is deleted or switched off is
// gone for the next request. One look at the metadata serves every request that was received before
// it (docs/decisions/0015-one-look-for-many-requests.md).
#pragma once

#include <expected>
#include <memory>
#include <mutex>
#include <string>
#include <unordered_map>
#include <vector>

#include "base/clock.h"
#include "meta/metadata_store.h"
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
  explicit ReadableBlobs(meta::MetadataStore& metadata) : metadata_(metadata) {}

  // The blob that the route names; the refusal when it is absent, or when the repository's
  // attributes forbid to read it.
  // It knows of everything that was committed before `received_at`.
  std::expected<ReadableBlob, Refusal> find(const Route& route, SteadyTime received_at);

 private:
  // What was found while the watch said `version`. One thread at a time has it.
  struct Memory {
    // Forgets everything if anything has changed.
    Result<void> check();

    std::unique_ptr<meta::ChangeWatch> watch;
    uint64_t version = 0;
    SteadyTime checked_at = SteadyTime::min();            // just before the watch was asked
    std::unordered_map<std::string, ReadableBlob> found;  // by repository and digest
    std::string key;                                      // of the look-up that is made
  };
  class Lent;

  std::expected<ReadableBlob, Refusal> look_up(const Route& route);
  Result<std::unique_ptr<Memory>> take();
  void give_back(std::unique_ptr<Memory> memory);

  meta::MetadataStore& metadata_;
  std::mutex mutex_;
  std::vector<std::unique_ptr<Memory>> idle_;  // as many as threads that ever looked at once
};

}  // namespace runnel::registry
