// Tags that wait for an artifact.
//
// A node that pulls an image before its artifact is there unpacks it, and never streams it. So a
// repository can have pushed tags held: the manifest is there by its digest at once, its tags when
// its conversion has ended, however it did, or when the time is over. Until then a tag points to
// what it pointed to before. Held tags are documents of the metadata store: any process lets them
// go, and a tag is pointed only together with the end of its document. So who pushes or deletes a
// tag, or deletes its manifest, takes what is held for it away in the same transaction, and knows
// that it does not come later; and what is held is lost by no push or deletion that did not happen.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "base/clock.h"
#include "meta/metadata_store.h"
#include "registry/soft_delete_policy.h"

namespace runnel::registry {

// Whatever is held for these tags: for a call that points or deletes them.
std::vector<meta::DocumentPattern> held_for(std::string_view repository,
                                            const std::vector<std::string>& tags);
// Whatever waits for this manifest, and for any of the repository: for a call that deletes it.
std::vector<meta::DocumentPattern> held_for(std::string_view repository,
                                            const oci::Digest& manifest);
std::vector<meta::DocumentPattern> held_for(std::string_view repository);

// Has the push, at this moment, hold its tags instead of pointing them: they point to it in `time`
// at the latest. What was held for them before is forgotten.
void hold_tags(meta::NewManifest& manifest, std::string_view repository, WallTime now,
               Duration time);

// Any thread; calls block. The references must outlive it.
class HeldTags {
 public:
  // `configured` as soft_delete_policy() takes it.
  HeldTags(meta::MetadataStore& metadata, const Clock& clock, const SoftDeletePolicy& configured)
      : metadata_(metadata), clock_(clock), configured_(configured) {}

  // Lets go what waits for this manifest.
  Result<void> release(const std::string& repository, const oci::Digest& digest);
  // Lets go what has waited long enough, and what is to wait for more than twice its time: it was
  // pushed before the clock was set back.
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
