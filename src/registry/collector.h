// Gives back the space of blobs that nothing needs any more, while everything goes on. Its cost is
// in proportion to what was pushed and deleted since, not to what is stored; only sweep() looks at
// every blob, for those that a crash left between a blob's rename and its link.
//
// Three steps. Deletions that are older than the time to undo them are forgotten. A repository
// loses its link to a blob that none of its manifests needs, once the link is older than a
// lifetime: a client may have pushed the blob, or been told by HEAD that it need not, and its
// manifest may still come. Then a blob that no repository links is removed, together with what a
// crash left between a blob's rename and its link. The second step looks and removes within one
// transaction of the metadata store, and a push links its blob only after a look within one, so of
// a push and a removal at the same time the later one knows of the earlier one.
//
// Manifests are never collected: without a tag they can be pulled by digest, as children of an
// index, or found as referrers.
#pragma once

#include <cstdint>
#include <optional>
#include <stop_token>

#include "base/clock.h"
#include "base/error.h"
#include "blob/blob_store.h"
#include "meta/metadata_store.h"

namespace runnel::registry {

struct Collected {
  size_t deletions = 0;  // forgotten
  size_t links = 0;
  size_t blobs = 0;
  uint64_t bytes = 0;
};

// Several processes may collect at the same time. One call at a time; calls block.
class Collector {
 public:
  // The stores and the clock must outlive this. `undo_time` is how long deletions can be undone
  // unless the metadata has another policy (soft_delete_policy.h).
  Collector(blob::BlobStore& blobs, meta::MetadataStore& metadata, const Clock& clock,
            Duration lifetime, Duration undo_time)
      : blobs_(blobs),
        metadata_(metadata),
        clock_(clock),
        lifetime_(lifetime),
        undo_time_(undo_time) {}

  // What collect() does with deletions that are older than the time to undo them.
  enum class OldDeletions : uint8_t { kForget, kKeep };
  // Ends early, with what it did so far, when `stop` asks for it.
  Result<Collected> collect(const std::stop_token& stop = {},
                            OldDeletions old_deletions = OldDeletions::kForget);
  // Removes blobs that have no link, whether one went or there never was one.
  Result<Collected> sweep(const std::stop_token& stop = {});

 private:
  Result<void> forget(const std::stop_token& stop, Collected& collected);
  Result<void> unlink(WallTime before, const std::stop_token& stop, Collected& collected);
  Result<void> remove_unlinked(WallTime before, const std::stop_token& stop, Collected& collected);
  Result<void> remove(const oci::Digest& digest, const std::optional<blob::StoredBlob>& stored,
                      Collected& collected);

  blob::BlobStore& blobs_;
  meta::MetadataStore& metadata_;
  const Clock& clock_;
  const Duration lifetime_;
  const Duration undo_time_;
};

}  // namespace runnel::registry
