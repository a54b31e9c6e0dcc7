#include "registry/boot_hint.h"

#include <limits>

#include "artifact/artifact.h"
#include "convert/find_artifact.h"
#include "oci/document.h"
#include "registry/attributes.h"

namespace runnel::registry {

namespace {

// Nothing when it is not one that this program can read.
Result<std::optional<artifact::Artifact>> stored_artifact(meta::MetadataStore& metadata,
                                                          std::string_view repository,
                                                          const oci::Digest& digest) {
  RUNNEL_TRY(const auto stored, metadata.manifest(repository, digest));
  if (!stored) return std::nullopt;
  const auto manifest = oci::parse_manifest(as_bytes(stored->bytes), stored->info.media_type);
  if (!manifest) return std::nullopt;
  auto artifact = artifact::parse_artifact(*manifest);
  if (!artifact || artifact->layers.empty()) return std::nullopt;
  return *std::move(artifact);
}

}  // namespace

bool asks_for_boot_blob(const net::Headers& headers) {
  return headers.first(artifact::kAskHeader) == artifact::kAskBootBlob;
}

Result<std::optional<artifact::BootHint>> boot_hint(meta::MetadataStore& metadata,
                                                    std::string_view repository,
                                                    const oci::Digest& subject) {
  RUNNEL_TRY(const bool guarded, any_digest_has_attributes(metadata, repository));
  if (guarded) return std::nullopt;
  RUNNEL_TRY(const auto referrers,
             metadata.referrers(repository, subject, convert::artifact_types(),
                                std::numeric_limits<int64_t>::max(), convert::kMaxCandidates));
  std::optional<artifact::Artifact> best;
  for (const auto& referrer : referrers) {
    RUNNEL_TRY(auto artifact, stored_artifact(metadata, repository, referrer.digest));
    if (artifact && (!best || artifact->generation > best->generation)) best = std::move(artifact);
  }
  if (!best) return std::nullopt;
  return artifact::BootHint{.blob = best->boot,
                            .size = best->boot_size,
                            .head = best->head_size,
                            .base = best->layers.front().blob};
}

}  // namespace runnel::registry
