// Tags that wait for an artifact.
//
// A node that pulls an image before its artifact is there unpacks it, and never streams it. So a
// repository can have pushed tags held: the manifest is there by its digest at once, its tags when
// its conversion has ended, however it did, or when the time is over. Until then a tag points to
// what it pointed to before. Held tags are documents of the metadata store: any process lets them
// go, and a tag is pointed only together with the end of its document. So who pushes or deletes a
// tag takes what is held for it away, and knows that it does not come later.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "base/clock.h"
#include "meta/metadata_store.h"
#include "registry/soft_delete_policy.h"

namespace runnel::registry {

// What is held for these tags. A push that points them replaces it (meta::NewManifest::replaces):
// one that is refused leaves it waiting.
Result<std::vector<meta::DocumentName>> held_for(meta::MetadataStore& metadata,
                                                 const std::string& repository,
                                                 const std::vector<std::string>& tags);
// Before somebody deletes the tags: after that, what was held for them does not come any more.
Result<void> forget_held(meta::MetadataStore& metadata, const std::string& repository,
                         const std::vector<std::string>& tags);

// Any thread; calls block. The references must outlive it.
class HeldTags {
 public:
  // `configured` as soft_delete_policy() takes it.
  HeldTags(meta::MetadataStore& metadata, const Clock& clock, const SoftDeletePolicy& configured)
      : metadata_(metadata), clock_(clock), configured_(configured) {}

  // The tags will point to `digest` in `time` at the latest. What was held for them before is
  // forgotten.
  Result<void> hold(const std::string& repository, const std::vector<std::string>& tags,
                    const oci::Digest& digest, Duration time);

  // Lets go what waits for this manifest.
  Result<void> release(const std::string& repository, const oci::Digest& digest);
  // Lets go what has waited long enough.
  Result<void> release_due();

 private:
  struct Held;
  Result<std::vector<Held>> page(std::string_view prefix, std::string& after);
  Result<void> point(const Held& held);

  meta::MetadataStore& metadata_;
  const Clock& clock_;
  const SoftDeletePolicy configured_;
};

}  // namespace runnel::registry
