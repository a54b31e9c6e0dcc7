#include "registry/boot_profiles.h"

#include <algorithm>
#include <array>
#include <boost/json.hpp>
#include <limits>
#include <map>
#include <set>
#include <tuple>

#include "oci/document.h"

namespace runnel::registry {

namespace {

constexpr size_t kMaxArtifacts = 32;  // of an image, that are looked at
// Versions of an image that are looked at: a conversion waits for it.
constexpr size_t kMaxVersions = 200;
constexpr std::string_view kMadeOf = "boot-profile";
// "BLOB REPOSITORY IMAGE": the image's profile has chunks of this layer blob.
constexpr std::string_view kOfLayer = "boot-profile-layer";
// Images with one layer that are looked at.
constexpr size_t kMaxSharing = 32;
constexpr size_t kSweep = 100;
// "REPOSITORY IMAGE INDEX"
constexpr std::string_view kOfIndex = "converted-index";
constexpr std::string_view kGeneration = "generation";
constexpr std::string_view kAt = "at";  // seconds since 1970

std::string name_of(const std::string& repository, const oci::Digest& image) {
  return fmt::format("{} {}", repository, image);
}

artifact::Profile profile_of(const meta::Document& document) {
  auto profile = artifact::parse_profile(as_bytes(document.body));
  return profile ? *std::move(profile) : artifact::Profile();
}

// Of what was noted with a profile; 0: it is of before that was.
uint64_t noted_number(const meta::Document& document, std::string_view key) {
  boost::json::error_code failed;
  const auto value = boost::json::parse(document.body, failed);
  const auto* object = failed ? nullptr : value.if_object();
  const auto* found = object != nullptr ? object->if_contains(key) : nullptr;
  return found != nullptr && found->is_number() ? found->to_number<uint64_t>() : 0;
}

// Makes it or replaces what is there.
Result<void> put(meta::MetadataStore& metadata, std::string_view kind, const std::string& name,
                 const std::string& body) {
  RUNNEL_TRY(const auto before, metadata.document(kind, name));
  if (before && before->body == body) return {};
  RUNNEL_TRY([[maybe_unused]] const auto version,
             metadata.put_document(kind, name, body, before ? before->version : 0));
  return {};
}

// The layers of which the profile has chunks.
std::set<oci::Digest> layers_in(const artifact::Profile& profile) {
  std::set<oci::Digest> layers;
  for (const auto& chunk : profile.chunks) layers.insert(profile.layers[chunk.layer]);
  return layers;
}

// All of them are about an image, which a name has as "REPOSITORY IMAGE".
constexpr std::array kKinds = {kMadeOf, kOfLayer, kOfIndex};

// Whether that image is there; of an index, whether both are.
Result<bool> is_present(meta::MetadataStore& metadata, std::string_view kind,
                        std::string_view name) {
  if (kind == kOfLayer) name.remove_prefix(std::min(name.size(), name.find(' ') + 1));
  const auto repository = name.substr(0, name.find(' '));
  while (name.size() > repository.size()) {
    const auto last = name.rfind(' ');
    const auto digest = oci::Digest::parse(name.substr(last + 1));
    if (!digest) return false;
    RUNNEL_TRY(const auto info, metadata.manifest_info(repository, *digest));
    if (!info) return false;
    name = name.substr(0, last);
  }
  return true;
}

// The newest artifact of the image that is for this platform, if its blobs are those of the
// profile.
Result<std::optional<artifact::Artifact>> fitting_artifact(meta::MetadataStore& metadata,
                                                           const std::string& repository,
                                                           const oci::Digest& image,
                                                           const oci::Platform& platform,
                                                           const artifact::Profile& profile) {
  RUNNEL_TRY(const auto artifacts, artifacts_of(metadata, repository, image));
  const auto* newest = newest_of(artifacts);
  if (newest == nullptr || oci::to_string(newest->artifact.platform) != oci::to_string(platform))
    return std::nullopt;
  const auto has = [&](const oci::Digest& blob) {
    return std::ranges::find(newest->artifact.layers, blob, &artifact::ArtifactLayer::blob) !=
           newest->artifact.layers.end();
  };
  if (std::ranges::none_of(profile.layers, has)) return std::nullopt;
  return newest->artifact;
}

}  // namespace

artifact::Profile within(const artifact::Profile& profile, const std::set<oci::Digest>& blobs) {
  artifact::Profile part;
  std::vector<std::optional<uint16_t>> place(profile.layers.size());
  for (const auto& [layer, chunk] : profile.chunks) {
    if (!blobs.contains(profile.layers[layer])) continue;
    if (!place[layer]) {
      place[layer] = static_cast<uint16_t>(part.layers.size());
      part.layers.push_back(profile.layers[layer]);
    }
    part.chunks.push_back({.layer = *place[layer], .chunk = chunk});
  }
  return part;
}

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

const ImageArtifact* newest_of(const std::vector<ImageArtifact>& artifacts) {
  const auto newest = std::ranges::max_element(
      artifacts, {}, [](const ImageArtifact& each) { return each.artifact.generation; });
  return newest == artifacts.end() ? nullptr : &*newest;
}

Result<MadeOf> boot_profile(meta::MetadataStore& metadata, const std::string& repository,
                            const oci::Digest& image, uint64_t generation) {
  RUNNEL_TRY(const auto document, metadata.document(kMadeOf, name_of(repository, image)));
  if (!document) return MadeOf();
  const auto noted = noted_number(*document, kGeneration);
  if (noted > generation) return MadeOf();
  MadeOf made{.profile = profile_of(*document)};
  if (const auto at = noted_number(*document, kAt); noted == generation && at > 0)
    made.at = WallTime(std::chrono::seconds(at));
  return made;
}

Result<void> note_boot_profile(meta::MetadataStore& metadata, const std::string& repository,
                               const oci::Digest& image, const artifact::Profile& profile,
                               uint64_t generation, WallTime at) {
  auto body = boost::json::parse(artifact::to_json(profile)).as_object();
  body[kGeneration] = generation;
  body[kAt] = std::chrono::ceil<std::chrono::seconds>(at).time_since_epoch().count();
  RUNNEL_DO(put(metadata, kMadeOf, name_of(repository, image), boost::json::serialize(body)));
  for (const auto& layer : layers_in(profile))
    RUNNEL_DO(
        put(metadata, kOfLayer, fmt::format("{} {}", layer, name_of(repository, image)), "{}"));
  return {};
}

Result<std::string> forget_boot_profiles_of_absent(meta::MetadataStore& metadata,
                                                   const std::string& after) {
  // "KIND NAME" is where to go on.
  size_t at = 0;
  while (at + 1 < kKinds.size() && !after.starts_with(fmt::format("{} ", kKinds[at]))) ++at;
  if (after.empty()) at = 0;
  const auto kind = kKinds[at];
  const auto name = after.empty() ? std::string() : after.substr(kind.size() + 1);
  RUNNEL_TRY(const auto some, metadata.documents(kind, name, kSweep));
  for (const auto& each : some) {
    RUNNEL_TRY(const bool present, is_present(metadata, kind, each.name));
    if (present) continue;
    RUNNEL_TRY([[maybe_unused]] const bool existed, metadata.delete_document(kind, each.name));
  }
  if (some.size() == kSweep) return fmt::format("{} {}", kind, some.back().name);
  return at + 1 < kKinds.size() ? fmt::format("{} ", kKinds[at + 1]) : std::string();
}

Result<void> note_index(meta::MetadataStore& metadata, const std::string& repository,
                        const oci::Digest& image, const oci::Digest& index) {
  return put(metadata, kOfIndex, fmt::format("{} {}", name_of(repository, image), index), "{}");
}

Result<std::vector<meta::ManifestInfo>> indexes_of(meta::MetadataStore& metadata,
                                                   const std::string& repository,
                                                   const oci::Digest& image) {
  const auto prefix = name_of(repository, image) + " ";
  RUNNEL_TRY(const auto noted, metadata.documents(kOfIndex, prefix, kMaxSharing));
  std::vector<meta::ManifestInfo> found;
  for (const auto& each : noted) {
    if (!each.name.starts_with(prefix)) break;
    const auto index = oci::Digest::parse(std::string_view(each.name).substr(prefix.size()));
    if (!index) continue;
    RUNNEL_TRY(auto info, metadata.manifest_info(repository, *index));
    if (info) found.push_back(*std::move(info));
  }
  return found;
}

Result<std::optional<artifact::Profile>> shared_starts(meta::MetadataStore& metadata,
                                                       const std::set<oci::Digest>& blobs) {
  std::map<std::string, size_t> sharing;  // by "REPOSITORY IMAGE"
  for (const auto& blob : blobs) {
    const auto prefix = fmt::format("{} ", blob);
    RUNNEL_TRY(const auto noted, metadata.documents(kOfLayer, prefix, kMaxSharing));
    for (const auto& each : noted)
      if (each.name.starts_with(prefix)) ++sharing[each.name.substr(prefix.size())];
  }
  std::optional<artifact::Profile> best;
  std::tuple<size_t, int64_t> best_rank;
  for (const auto& [name, shared] : sharing) {
    RUNNEL_TRY(const bool present, is_present(metadata, kMadeOf, name));
    RUNNEL_TRY(const auto document, metadata.document(kMadeOf, name));
    if (!present || !document) continue;
    const std::tuple rank(shared, document->version);
    if (best && rank <= best_rank) continue;
    auto part = within(profile_of(*document), blobs);
    if (part.chunks.empty()) continue;
    best = std::move(part);
    best_rank = rank;
  }
  return best;
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
