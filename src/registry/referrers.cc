#include "registry/referrers.h"

#include <algorithm>
#include <limits>
#include <span>
#include <utility>

#include "oci/document.h"
#include "oci/fallback_tag.h"
#include "oci/media_types.h"

namespace runnel::registry {

namespace {

// Of the fallback tag's index: whoever may push decides how many there are, and each is looked up.
// Its newest ones are its last, for clients add to it.
constexpr size_t kMostFallbackEntries = 500;

// The entries of the fallback tag's index that the list itself does not give.
Result<std::vector<oci::Descriptor>> fallback_entries(meta::MetadataStore& metadata,
                                                      std::string_view repository,
                                                      const oci::Digest& subject,
                                                      const meta::ArtifactTypes& types) {
  std::vector<oci::Descriptor> entries;
  RUNNEL_TRY(const auto stored, metadata.manifest(repository, oci::fallback_tag(subject)));
  if (!stored) return entries;
  auto index = oci::parse_index(as_bytes(stored->bytes), stored->info.media_type);
  if (!index) return entries;  // some manifest under such a tag
  auto& wanted = index->manifests;
  std::erase_if(wanted, [&](const oci::Descriptor& entry) {
    return !types.empty() && std::ranges::find(types, entry.artifact_type) == types.end();
  });
  const auto left_out = wanted.size() - std::min(wanted.size(), kMostFallbackEntries);
  for (auto& entry : std::span(wanted).subspan(left_out)) {
    RUNNEL_TRY(const bool listed, metadata.is_referrer(repository, subject, entry.digest));
    if (listed) continue;
    RUNNEL_TRY(const auto present, metadata.manifest_info(repository, entry.digest));
    if (present) entries.push_back(std::move(entry));
  }
  return entries;
}

// Writes the index entry by entry, as long as there is room: ten thousand of them are a page, and
// what the store has is JSON already.
class PageBuilder {
 public:
  explicit PageBuilder(size_t max_bytes)
      : max_bytes_(max_bytes),
        room_(max_bytes),
        index_(
            fmt::format(R"({{"schemaVersion":2,"mediaType":"{}","manifests":[)", oci::kOciIndex)) {}

  // False, and nothing added, when the page is full.
  bool add(std::string_view descriptor) {
    const auto size = descriptor.size() + 1;
    if (size > room_ && !empty_) return false;
    room_ -= std::min(size, room_);
    if (!std::exchange(empty_, false)) index_ += ',';
    // The whole page's memory at once, which costs nothing until it is used.
    if (index_.size() > kManyBytes && index_.capacity() < max_bytes_)
      index_.reserve(max_bytes_ + kAround);
    index_ += descriptor;
    return true;
  }

  ReferrersPage finish(std::optional<int64_t> next) && {
    index_ += "]}";
    return {.index = std::move(index_), .next = next};
  }

 private:
  static constexpr size_t kAround = 256;  // what is around the entries
  static constexpr size_t kManyBytes = 256 << 10;

  const size_t max_bytes_;
  size_t room_;
  bool empty_ = true;
  std::string index_;
};

}  // namespace

Result<ReferrersPage> referrers_page(meta::MetadataStore& metadata, std::string_view repository,
                                     const oci::Digest& subject, const meta::ArtifactTypes& types,
                                     std::optional<int64_t> before, const IsListed& is_listed,
                                     size_t max_bytes) {
  PageBuilder page(max_bytes);
  if (!before) {
    RUNNEL_TRY(const auto entries, fallback_entries(metadata, repository, subject, types));
    for (const auto& entry : entries) {
      RUNNEL_TRY(const bool listed, is_listed(entry.digest.to_string()));
      if (listed && !page.add(oci::to_json(entry))) break;
    }
  }
  auto position = before.value_or(std::numeric_limits<int64_t>::max());
  bool full = false;
  const auto add = [&](const meta::VisitedReferrer& referrer) -> Result<bool> {
    RUNNEL_TRY(const bool listed, is_listed(referrer.digest));
    full = listed && !page.add(referrer.descriptor);
    if (!full) position = referrer.position;
    return !full;
  };
  RUNNEL_DO(metadata.visit_referrers(repository, subject, types, position, add));
  return std::move(page).finish(full ? std::optional(position) : std::nullopt);
}

}  // namespace runnel::registry
