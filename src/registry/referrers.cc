#include "registry/referrers.h"

#include <algorithm>
#include <limits>

#include "oci/document.h"
#include "oci/media_types.h"

namespace runnel::registry {

namespace {

constexpr size_t kBatch = 64;

// "sha256-HEX"; of a longer digest the first 64 digits (distribution-spec, "Referrers Tag Schema").
std::string fallback_tag(const oci::Digest& subject) {
  return fmt::format("{}-{}", oci::to_string(subject.algorithm()), subject.hex().substr(0, 64));
}

// The entries of the fallback tag's index that the list itself does not give.
Result<std::vector<oci::Descriptor>> fallback_entries(meta::MetadataStore& metadata,
                                                      std::string_view repository,
                                                      const oci::Digest& subject,
                                                      const meta::ArtifactTypes& types) {
  std::vector<oci::Descriptor> entries;
  RUNNEL_TRY(const auto stored, metadata.manifest(repository, fallback_tag(subject)));
  if (!stored) return entries;
  auto index = oci::parse_index(as_bytes(stored->bytes), stored->info.media_type);
  if (!index) return entries;  // some manifest under such a tag
  for (auto& entry : index->manifests) {
    if (!types.empty() && std::ranges::find(types, entry.artifact_type) == types.end()) continue;
    RUNNEL_TRY(const bool listed, metadata.is_referrer(repository, subject, entry.digest));
    if (listed) continue;
    RUNNEL_TRY(const auto present, metadata.manifest_info(repository, entry.digest));
    if (present) entries.push_back(std::move(entry));
  }
  return entries;
}

// Adds to a page as long as there is room.
class PageBuilder {
 public:
  PageBuilder(oci::Index& index, size_t max_bytes) : index_(index), room_(max_bytes) {}

  // False, and nothing added, when the page is full.
  bool add(oci::Descriptor descriptor) {
    const auto size = oci::to_json(descriptor).size() + 1;
    if (size > room_ && !index_.manifests.empty()) return false;
    room_ -= std::min(size, room_);
    index_.manifests.push_back(std::move(descriptor));
    return true;
  }

 private:
  oci::Index& index_;
  size_t room_;
};

}  // namespace

Result<ReferrersPage> referrers_page(meta::MetadataStore& metadata, std::string_view repository,
                                     const oci::Digest& subject, const meta::ArtifactTypes& types,
                                     std::optional<int64_t> before, size_t max_bytes) {
  ReferrersPage page;
  page.index.media_type = oci::kOciIndex;
  PageBuilder builder(page.index, max_bytes);
  if (!before) {
    RUNNEL_TRY(auto entries, fallback_entries(metadata, repository, subject, types));
    for (auto& entry : entries)
      if (!builder.add(std::move(entry))) break;
  }
  auto position = before.value_or(std::numeric_limits<int64_t>::max());
  while (true) {
    RUNNEL_TRY(auto batch, metadata.referrers(repository, subject, types, position, kBatch));
    for (auto& referrer : batch) {
      if (!builder.add(std::move(referrer.descriptor))) {
        page.next = position;
        return page;
      }
      position = referrer.position;
    }
    if (batch.size() < kBatch) return page;
  }
}

}  // namespace runnel::registry
