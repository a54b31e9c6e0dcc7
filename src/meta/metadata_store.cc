#include "meta/metadata_store.h"

#include "meta/stored_digest.h"

namespace runnel::meta {

Result<std::vector<Referrer>> MetadataStore::referrers(std::string_view repository,
                                                       const oci::Digest& subject,
                                                       const ArtifactTypes& types, int64_t before,
                                                       size_t limit) {
  std::vector<Referrer> found;
  if (limit == 0) return found;
  const auto keep = [&](const VisitedReferrer& each) -> Result<bool> {
    RUNNEL_TRY(auto digest, stored_digest(each.digest));
    found.push_back({each.position, std::move(digest), std::string(each.descriptor)});
    return found.size() < limit;
  };
  RUNNEL_DO(visit_referrers(repository, subject, types, before, keep));
  return found;
}

}  // namespace runnel::meta
