#include "registry/image_scope.h"

#include <algorithm>
#include <cstdint>
#include <limits>

#include "oci/document.h"

namespace runnel::registry {

namespace {

constexpr size_t kMostChildren = 32;
constexpr size_t kMostReferrers = 32;

// One question about one repository.
class Search {
 public:
  Search(meta::MetadataStore& metadata, const Route& route) : metadata_(metadata), route_(route) {}

  Result<bool> reaches(const oci::Digest& image) const {
    RUNNEL_TRY(const auto target, target_digest());
    if (!target) return false;
    if (*target == image && route_.kind != Route::Kind::kBlob) return true;
    RUNNEL_TRY(const auto document, read(image));
    if (!document) return false;
    if (const auto* manifest = std::get_if<oci::Manifest>(&*document))
      return manifest_reaches(image, *manifest, *target);
    const auto& index = std::get<oci::Index>(*document);
    const auto count = std::min(index.manifests.size(), kMostChildren);
    for (size_t i = 0; i < count; ++i) {
      const auto& child = index.manifests[i].digest;
      if (*target == child && route_.kind != Route::Kind::kBlob) return true;
      RUNNEL_TRY(const auto below, read(child));
      const auto* manifest = below ? std::get_if<oci::Manifest>(&*below) : nullptr;
      if (manifest == nullptr) continue;
      RUNNEL_TRY(const bool found, manifest_reaches(child, *manifest, *target));
      if (found) return true;
    }
    return false;
  }

 private:
  // A tag stands for what it names.
  Result<std::optional<oci::Digest>> target_digest() const {
    if (auto digest = oci::Digest::parse(route_.target)) return *std::move(digest);
    if (route_.kind != Route::Kind::kManifest) return std::nullopt;
    RUNNEL_TRY(const auto info, metadata_.manifest_info(route_.repository, route_.target));
    if (!info) return std::nullopt;
    return info->digest;
  }

  // Nothing for what is absent, or is no document any more.
  Result<std::optional<oci::Document>> read(const oci::Digest& digest) const {
    RUNNEL_TRY(const auto stored, metadata_.manifest(route_.repository, digest));
    if (!stored) return std::nullopt;
    auto document = oci::parse_document(as_bytes(stored->bytes), stored->info.media_type);
    if (!document) return std::nullopt;
    return *std::move(document);
  }

  static bool has_blob(const oci::Manifest& manifest, const oci::Digest& blob) {
    return manifest.config.digest == blob ||
           std::ranges::find(manifest.layers, blob, &oci::Descriptor::digest) !=
               manifest.layers.end();
  }

  Result<bool> manifest_reaches(const oci::Digest& digest, const oci::Manifest& manifest,
                                const oci::Digest& target) const {
    if (route_.kind == Route::Kind::kReferrers) return false;  // of what belongs to it: nobody asks
    if (route_.kind == Route::Kind::kManifest)
      return metadata_.is_referrer(route_.repository, digest, target);
    if (has_blob(manifest, target)) return true;
    RUNNEL_TRY(const auto referrers,
               metadata_.referrers(route_.repository, digest, {},
                                   std::numeric_limits<int64_t>::max(), kMostReferrers));
    for (const auto& referrer : referrers) {
      RUNNEL_TRY(const auto document, read(referrer.digest));
      const auto* artifact = document ? std::get_if<oci::Manifest>(&*document) : nullptr;
      if (artifact != nullptr && has_blob(*artifact, target)) return true;
    }
    return false;
  }

  meta::MetadataStore& metadata_;
  const Route& route_;
};

}  // namespace

Result<bool> belongs_to_images(meta::MetadataStore& metadata, const Route& route,
                               const std::vector<oci::Digest>& images) {
  const bool can = route.kind == Route::Kind::kBlob || route.kind == Route::Kind::kManifest ||
                   route.kind == Route::Kind::kReferrers;
  if (!can) return false;
  const Search search(metadata, route);
  for (const auto& image : images) {
    RUNNEL_TRY(const bool found, search.reaches(image));
    if (found) return true;
  }
  return false;
}

}  // namespace runnel::registry
