// What boot blobs were made of: for each image the profile of its newest one, and what that is
// worth to another version of the image.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "artifact/artifact.h"
#include "artifact/profile.h"
#include "base/error.h"
#include "meta/metadata_store.h"
#include "oci/manifest.h"

namespace runnel::registry {

struct ImageArtifact {
  oci::Digest digest;  // of the artifact's manifest
  artifact::Artifact artifact;
};

// The image's artifacts, whoever made them; some of them when there are very many.
Result<std::vector<ImageArtifact>> artifacts_of(meta::MetadataStore& metadata,
                                                const std::string& repository,
                                                const oci::Digest& image);

// What the newest artifact's hot pack was made of; empty when that was no profile.
Result<artifact::Profile> boot_profile(meta::MetadataStore& metadata, const std::string& repository,
                                       const oci::Digest& image);
Result<void> note_boot_profile(meta::MetadataStore& metadata, const std::string& repository,
                               const oci::Digest& image, const artifact::Profile& profile);

// What starts of another version of an image read, and the layers that they read it from.
struct EarlierStarts {
  oci::Digest image;
  artifact::Profile profile;
  std::vector<artifact::ArtifactLayer> layers;  // of the image, lowest first
};

// Of the images in the repository that are for this platform and have such a profile, the one that
// shares most layers with `manifest`; of several, the one whose profile was noted last. Not `image`
// itself. Empty when there is none.
Result<std::optional<EarlierStarts>> earlier_starts(meta::MetadataStore& metadata,
                                                    const std::string& repository,
                                                    const oci::Digest& image,
                                                    const oci::Manifest& manifest,
                                                    const oci::Platform& platform);

}  // namespace runnel::registry
