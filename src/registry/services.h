// What the handlers of the distribution API work with.
#pragma once

#include "base/worker_pool.h"
#include "blob/blob_store.h"
#include "meta/metadata_store.h"
#include "registry/config.h"
#include "registry/gate.h"
#include "registry/image_scope.h"
#include "registry/merged_votes.h"
#include "registry/rate_limiter.h"
#include "registry/readable_blobs.h"
#include "registry/uploads.h"

namespace runnel::registry {

class BootRenewal;
class Conversions;
class PushedLayers;

// Everything here may be used from any thread and outlives every request.
struct Services {
  Services(const Config& c, blob::BlobStore& b, meta::MetadataStore& m, Uploads& u, Gate* g,
           const Clock& t, WorkerPool& r, WorkerPool& w)
      : config(c),
        blobs(b),
        metadata(m),
        uploads(u),
        gate(g),
        clock(t),
        readers(r),
        writers(w),
        readable_blobs(m),
        image_rights(m),
        merged_votes(m),
        manifest_reads(c.limits.manifests_per_minute, t) {}

  // For how long deletions can be undone now.
  Result<SoftDeletePolicy> soft_delete() const {
    return soft_delete_policy(metadata, config.soft_delete_policy());
  }

  const Config& config;
  blob::BlobStore& blobs;
  meta::MetadataStore& metadata;
  Uploads& uploads;
  Gate* gate;  // null without authentication
  const Clock& clock;
  // Two pools, so that reads do not queue up behind the syncs of pushes.
  WorkerPool& readers;
  WorkerPool& writers;
  ReadableBlobs readable_blobs;
  ImageRights image_rights;
  MergedVotes merged_votes;
  RateLimiter manifest_reads;
  Conversions* conversions = nullptr;     // null when they are switched off
  BootRenewal* renewal = nullptr;         // as well
  PushedLayers* pushed_layers = nullptr;  // as well
};

}  // namespace runnel::registry
