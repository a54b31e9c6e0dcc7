// From an image to its artifact: which referrer, and whether this node may use it.
#pragma once

#include <string>
#include <vector>

#include "artifact/artifact.h"
#include "base/error.h"
#include "oci/digest.h"
#include "oci/index.h"
#include "oci/manifest.h"
#include "remote/repository.h"

namespace runnel::convert {

// The manifest of this machine's platform. kUnsupported when there is none.
Result<oci::Digest> platform_manifest(const oci::Index& index);

// Of one image, that are looked at: somebody may have pushed any number.
inline constexpr size_t kMaxCandidates = 8;
// What referrers that are artifacts say of their type.
std::vector<std::string> artifact_types();

struct FoundArtifact {
  artifact::Artifact artifact;
  Buffer manifest;  // its bytes
};

// The artifacts of `subject` that this program could read, the highest generation first. kNotFound
// when there is none, kUnsupported when there are only others, kUnavailable also when the list of
// what refers to `subject` is too long.
Result<std::vector<FoundArtifact>> find_artifacts(const remote::Repository& repository,
                                                  const oci::Digest& subject);

// kInvalid unless the artifact is of this manifest and these diff IDs, layer by layer.
Result<void> check_belongs(const artifact::Artifact& artifact, const oci::Digest& subject,
                           const oci::Manifest& manifest, const std::vector<oci::Digest>& diff_ids);

// kInvalid when the two name one layer blob with different chunk tables. A node has one of each
// blob, whichever image it is of, and a table says what is right for its readers.
Result<void> check_agrees(const artifact::Artifact& artifact, const artifact::Artifact& other);

}  // namespace runnel::convert
