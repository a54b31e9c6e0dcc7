// What a token may read that is limited to images: the manifests themselves, what they consist of,
// and what refers to them (streaming artifacts, signatures) with its blobs.
#pragma once

#include <expected>
#include <vector>

#include "base/clock.h"
#include "base/error.h"
#include "meta/metadata_store.h"
#include "registry/remembered.h"
#include "registry/route.h"

namespace runnel::registry {

// Of the indexes among the images, for one question: what they list is read from their bytes.
inline constexpr size_t kMostIndexBytes = 8 << 20;

// Whether the blob, the manifest or the list of referrers that `route` names belongs to one of the
// images, which are manifests or indexes of its repository. False for every other kind of route,
// and for what is not there. An index reaches its first 32 manifests, a manifest its newest 32
// referrers; indexes above kMostIndexBytes, all together, reach nothing.
//
// Whoever pushes decides how much there is to look at, so nothing is read but indexes, and each of
// them and each manifest is asked once: some 2,000 look-ups in the metadata at most. Call it from a
// pool's thread.
Result<bool> belongs_to_images(meta::MetadataStore& metadata, const Route& route,
                               const std::vector<oci::Digest>& images);

// The same, remembered: a node reads one layer in thousands of ranges. Any thread may call any
// method.
class ImageRights {
 public:
  // The store must outlive it.
  explicit ImageRights(meta::MetadataStore& metadata)
      : metadata_(metadata), remembered_(metadata) {}

  // It knows of everything that was committed before `received_at`.
  std::expected<bool, Refusal> reach(const Route& route, const std::vector<oci::Digest>& images,
                                     SteadyTime received_at);

 private:
  meta::MetadataStore& metadata_;
  Remembered<bool> remembered_;
};

}  // namespace runnel::registry
