#include "registry/boot_profiles.h"

#include <algorithm>
#include <limits>
#include <set>
#include <tuple>

#include "oci/document.h"

namespace runnel::registry {

namespace {

constexpr size_t kMaxArtifacts = 32;  // of an image, that are looked at
// Versions of an image that are looked at: a conversion waits for it.
constexpr size_t kMaxVersions = 200;
constexpr std::string_view kMadeOf = "boot-profile";

std::string name_of(const std::string& repository, const oci::Digest& image) {
  return fmt::format("{} {}", repository, image);
}

artifact::Profile profile_of(const meta::Document& document) {
  auto profile = artifact::parse_profile(as_bytes(document.body));
  return profile ? *std::move(profile) : artifact::Profile();
}

// The newest artifact of the image that is for this platform, if its blobs are those of the
// profile.
Result<std::optional<artifact::Artifact>> fitting_artifact(meta::MetadataStore& metadata,
                                                           const std::string& repository,
                                                           const oci::Digest& image,
                                                           const oci::Platform& platform,
                                                           const artifact::Profile& profile) {
  RUNNEL_TRY(auto artifacts, artifacts_of(metadata, repository, image));
  const auto newest = std::ranges::max_element(
      artifacts, {}, [](const ImageArtifact& each) { return each.artifact.generation; });
  if (newest == artifacts.end() ||
      oci::to_string(newest->artifact.platform) != oci::to_string(platform))
    return std::nullopt;
  const auto has = [&](const oci::Digest& blob) {
    return std::ranges::find(newest->artifact.layers, blob, &artifact::ArtifactLayer::blob) !=
           newest->artifact.layers.end();
  };
  if (std::ranges::none_of(profile.layers, has)) return std::nullopt;
  return std::move(newest->artifact);
}

}  // namespace

Result<std::vector<ImageArtifact>> artifacts_of(meta::MetadataStore& metadata,
                                                const std::string& repository,
                                                const oci::Digest& image) {
  std::vector<ImageArtifact> found;
  RUNNEL_TRY(const auto listed,
             metadata.referrers(repository, image, {std::string(artifact::kAzureArtifactType)},
                                std::numeric_limits<int64_t>::max(), kMaxArtifacts));
  for (const auto& each : listed) {
    RUNNEL_TRY(const auto stored, metadata.manifest(repository, each.digest));
    if (!stored) continue;
    const auto manifest = oci::parse_manifest(as_bytes(stored->bytes), stored->info.media_type);
    if (!manifest) continue;
    auto artifact = artifact::parse_artifact(*manifest);
    if (artifact) found.push_back({each.digest, *std::move(artifact)});
  }
  return found;
}

Result<artifact::Profile> boot_profile(meta::MetadataStore& metadata, const std::string& repository,
                                       const oci::Digest& image) {
  RUNNEL_TRY(const auto document, metadata.document(kMadeOf, name_of(repository, image)));
  return document ? profile_of(*document) : artifact::Profile();
}

Result<void> note_boot_profile(meta::MetadataStore& metadata, const std::string& repository,
                               const oci::Digest& image, const artifact::Profile& profile) {
  const auto name = name_of(repository, image);
  RUNNEL_TRY(const auto before, metadata.document(kMadeOf, name));
  RUNNEL_TRY([[maybe_unused]] const auto version,
             metadata.put_document(kMadeOf, name, artifact::to_json(profile),
                                   before ? before->version : 0));
  return {};
}

Result<std::optional<EarlierStarts>> earlier_starts(meta::MetadataStore& metadata,
                                                    const std::string& repository,
                                                    const oci::Digest& image,
                                                    const oci::Manifest& manifest,
                                                    const oci::Platform& platform) {
  const auto prefix = repository + " ";
  RUNNEL_TRY(auto noted, metadata.documents(kMadeOf, prefix, kMaxVersions));
  std::set<oci::Digest> wanted;
  for (const auto& layer : manifest.layers) wanted.insert(layer.digest);
  std::optional<EarlierStarts> best;
  std::tuple<size_t, int64_t> best_rank;
  for (const auto& document : noted) {
    if (!document.name.starts_with(prefix)) break;
    const auto other = oci::Digest::parse(std::string_view(document.name).substr(prefix.size()));
    if (!other || *other == image) continue;
    auto profile = profile_of(document);
    RUNNEL_TRY(auto made, fitting_artifact(metadata, repository, *other, platform, profile));
    if (!made) continue;
    const auto shared = std::ranges::count_if(
        made->layers,
        [&](const artifact::ArtifactLayer& layer) { return wanted.contains(layer.source); });
    const std::tuple rank(static_cast<size_t>(shared), document.version);
    if (best && rank <= best_rank) continue;
    best = EarlierStarts{*other, std::move(profile), std::move(made->layers)};
    best_rank = rank;
  }
  return best;
}

}  // namespace runnel::registry
