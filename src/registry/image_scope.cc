#include "registry/image_scope.h"

#include <algorithm>
#include <cstdint>
#include <set>

#include "oci/document.h"
#include "oci/media_types.h"

namespace runnel::registry {

namespace {

constexpr size_t kMostChildren = 32;
constexpr size_t kMostReferrers = 32;

// One question about one repository.
class Search {
 public:
  Search(meta::MetadataStore& metadata, const Route& route, const oci::Digest& target)
      : metadata_(metadata), route_(route), target_(target) {}

  Result<bool> reaches(const oci::Digest& image) {
    if (is_target(image)) return true;
    RUNNEL_TRY(const auto info, metadata_.manifest_info(route_.repository, image));
    if (!info) return false;
    if (!oci::is_index_type(info->media_type)) return manifest_reaches(image);
    RUNNEL_TRY(const auto children, children_of(*info));
    for (const auto& child : children) {
      RUNNEL_TRY(const bool found, child_reaches(child));
      if (found) return true;
    }
    return false;
  }

 private:
  bool is_target(const oci::Digest& digest) const {
    return target_ == digest && route_.kind != Route::Kind::kBlob;
  }

  // False for one that was asked before.
  Result<bool> child_reaches(const oci::Digest& child) {
    if (is_target(child)) return true;
    if (!asked_.insert(child).second) return false;
    RUNNEL_TRY(const auto info, metadata_.manifest_info(route_.repository, child));
    if (!info || !oci::is_manifest_type(info->media_type)) return false;
    return manifest_reaches(child);
  }

  Result<bool> manifest_reaches(const oci::Digest& manifest) const {
    if (route_.kind == Route::Kind::kReferrers) return false;  // of what belongs to it: nobody asks
    if (route_.kind == Route::Kind::kManifest)
      return metadata_.is_referrer(route_.repository, manifest, target_);
    return metadata_.names_blob(route_.repository, manifest, target_, kMostReferrers);
  }

  // Nothing of what is no index any more.
  Result<std::vector<oci::Digest>> children_of(const meta::ManifestInfo& info) {
    std::vector<oci::Digest> children;
    if (info.size > index_bytes_) return children;
    RUNNEL_TRY(const auto stored, metadata_.manifest(route_.repository, info.digest));
    if (!stored) return children;
    index_bytes_ -= info.size;
    const auto index = oci::parse_index(as_bytes(stored->bytes), stored->info.media_type);
    if (!index) return children;
    const auto count = std::min(index->manifests.size(), kMostChildren);
    for (size_t i = 0; i < count; ++i) children.push_back(index->manifests[i].digest);
    return children;
  }

  meta::MetadataStore& metadata_;
  const Route& route_;
  const oci::Digest& target_;
  std::set<oci::Digest> asked_;             // of the indexes' manifests
  uint64_t index_bytes_ = kMostIndexBytes;  // that may still be read
};

// A tag stands for what it names.
Result<std::optional<oci::Digest>> target_of(meta::MetadataStore& metadata, const Route& route) {
  if (auto digest = oci::Digest::parse(route.target)) return *std::move(digest);
  if (route.kind != Route::Kind::kManifest) return std::nullopt;
  RUNNEL_TRY(const auto info, metadata.manifest_info(route.repository, route.target));
  if (!info) return std::nullopt;
  return info->digest;
}

}  // namespace

Result<bool> belongs_to_images(meta::MetadataStore& metadata, const Route& route,
                               const std::vector<oci::Digest>& images) {
  const bool can = route.kind == Route::Kind::kBlob || route.kind == Route::Kind::kManifest ||
                   route.kind == Route::Kind::kReferrers;
  if (!can) return false;
  RUNNEL_TRY(const auto target, target_of(metadata, route));
  if (!target) return false;
  if (route.kind == Route::Kind::kBlob) {
    RUNNEL_TRY(const auto size, metadata.blob_size(route.repository, *target));
    if (!size) return false;
  }
  Search search(metadata, route, *target);
  for (const auto& image : std::set(images.begin(), images.end())) {
    RUNNEL_TRY(const bool found, search.reaches(image));
    if (found) return true;
  }
  return false;
}

std::expected<bool, Refusal> ImageRights::reach(const Route& route,
                                                const std::vector<oci::Digest>& images,
                                                SteadyTime received_at) {
  // Spaces are in no name.
  const auto make_key = [&](std::string& key) {
    key = fmt::format("{} {} {}", static_cast<int>(route.kind), route.repository, route.target);
    for (const auto& image : images) key.append(" ").append(image.to_string());
  };
  const auto look_up = [&]() -> std::expected<bool, Refusal> {
    RUNNEL_TRY(const bool belongs, belongs_to_images(metadata_, route, images));
    return belongs;
  };
  // A tag has any length, and is asked for once.
  if (!oci::Digest::parse(route.target)) return look_up();
  return remembered_.find(received_at, make_key, look_up);
}

}  // namespace runnel::registry
