#include "convert/find_artifact.h"

#include <algorithm>
#include <map>

#include "oci/document.h"

namespace runnel::convert {

namespace {

// A list without end is a fault of its registry, and no want of room on this machine.
Result<oci::Index> listed_artifacts(const remote::Repository& repository,
                                    const oci::Digest& subject) {
  auto listed =
      repository.referrers(subject, {.artifact_types = artifact_types(), .briefly = true});
  if (!listed && listed.error().code == Code::kExhausted)
    return fail(Code::kUnavailable, "{}", listed.error().message);
  return listed;
}

Result<FoundArtifact> read_artifact(const remote::Repository& repository,
                                    const oci::Digest& digest) {
  RUNNEL_TRY(auto read, repository.manifest(digest.to_string()));
  RUNNEL_TRY(const auto manifest, oci::parse_manifest(read.bytes, read.media_type));
  RUNNEL_TRY(auto artifact, artifact::parse_artifact(manifest));
  return FoundArtifact{.artifact = std::move(artifact), .manifest = std::move(read.bytes)};
}

}  // namespace

std::vector<std::string> artifact_types() {
  return {std::string(artifact::kArtifactType), std::string(artifact::kAzureArtifactType)};
}

Result<oci::Digest> platform_manifest(const oci::Index& index) {
#if defined(__x86_64__)
  constexpr std::string_view kArchitecture = "amd64";
#elif defined(__aarch64__)
  constexpr std::string_view kArchitecture = "arm64";
#else
#error "name this architecture as OCI images do"
#endif
  for (const auto& child : index.manifests) {
    if (child.platform && child.platform->os == "linux" &&
        child.platform->architecture == kArchitecture) {
      return child.digest;
    }
  }
  return fail(Code::kUnsupported, "the index has no image for linux/{}", kArchitecture);
}

Result<std::vector<FoundArtifact>> find_artifacts(const remote::Repository& repository,
                                                  const oci::Digest& subject) {
  RUNNEL_TRY(const auto referrers, listed_artifacts(repository, subject));
  std::vector<FoundArtifact> found;
  std::optional<Error> refused;
  size_t candidates = 0;
  for (const auto& referrer : referrers.manifests) {
    if (++candidates > kMaxCandidates) break;
    auto artifact = read_artifact(repository, referrer.digest);
    if (artifact) {
      found.push_back(*std::move(artifact));
    } else {
      refused = artifact.error().in(fmt::format("artifact {}", referrer.digest));
    }
  }
  if (found.empty() && refused) return std::unexpected(*std::move(refused));
  if (found.empty()) return fail(Code::kNotFound, "{} has no streaming artifact", subject);
  std::ranges::sort(found, std::ranges::greater(),
                    [](const auto& each) { return each.artifact.generation; });
  return found;
}

Result<void> check_belongs(const artifact::Artifact& artifact, const oci::Digest& subject,
                           const oci::Manifest& manifest,
                           const std::vector<oci::Digest>& diff_ids) {
  if (artifact.subject.digest != subject) {
    return fail(Code::kInvalid, "artifact of {}, not of {}", artifact.subject.digest, subject);
  }
  if (artifact.layers.size() != manifest.layers.size() ||
      artifact.layers.size() != diff_ids.size()) {
    return fail(Code::kInvalid, "artifact of {} layers, the image has {}", artifact.layers.size(),
                manifest.layers.size());
  }
  for (size_t i = 0; i < diff_ids.size(); ++i) {
    const auto& layer = artifact.layers[i];
    if (layer.source != manifest.layers[i].digest || layer.diff_id != diff_ids[i]) {
      return fail(Code::kInvalid, "artifact's layer {} is made from {}, the image has {}", i + 1,
                  layer.source, manifest.layers[i].digest);
    }
  }
  return {};
}

Result<void> check_agrees(const artifact::Artifact& artifact, const artifact::Artifact& other) {
  std::map<oci::Digest, codec::Sha256Value> tables;
  for (const auto& layer : artifact.layers) tables.emplace(layer.blob, layer.table_digest);
  for (const auto& layer : other.layers) {
    const auto same = tables.find(layer.blob);
    if (same != tables.end() && same->second != layer.table_digest) {
      return fail(Code::kInvalid, "layer {} has another chunk table in the artifact of {}",
                  layer.blob, other.subject.digest);
    }
  }
  return {};
}

}  // namespace runnel::convert
