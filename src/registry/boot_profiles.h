// What boot blobs were made of: for each image the profile of its newest one, and what that is
// worth to another version of the image.
#pragma once

#include <optional>
#include <set>
#include <string>
#include <vector>

#include "artifact/artifact.h"
#include "artifact/profile.h"
#include "base/clock.h"
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

// The newest of them; null when there is none.
const ImageArtifact* newest_of(const std::vector<ImageArtifact>& artifacts);

// What the profile says of these layer blobs, and nothing else of it.
artifact::Profile within(const artifact::Profile& profile, const std::set<oci::Digest>& blobs);

struct MadeOf {
  artifact::Profile profile;
  // Empty where it was not noted, or was for another artifact.
  std::optional<WallTime> at;
};

// What the hot pack of the image's newest artifact, whose generation that is, was made of, and
// when; empty when that was no profile.
Result<MadeOf> boot_profile(meta::MetadataStore& metadata, const std::string& repository,
                            const oci::Digest& image, uint64_t generation);
// What the next artifact's will be made of, before it is made: it counts once there is an artifact
// of that generation, so nothing is wrong when there never is. `at` is kept in whole seconds,
// rounded up.
Result<void> note_boot_profile(meta::MetadataStore& metadata, const std::string& repository,
                               const oci::Digest& image, const artifact::Profile& profile,
                               uint64_t generation, WallTime at);
// Looks at some of them, those that come after `after` in the store's order, and forgets those of
// images that are gone. Where to go on; empty at the end.
Result<std::string> forget_boot_profiles_of_absent(meta::MetadataStore& metadata,
                                                   const std::string& after);

// That the image was converted as one of the index's.
Result<void> note_index(meta::MetadataStore& metadata, const std::string& repository,
                        const oci::Digest& image, const oci::Digest& index);
// The indexes in which it was, as far as they are still there; some of them when there are very
// many.
Result<std::vector<meta::ManifestInfo>> indexes_of(meta::MetadataStore& metadata,
                                                   const std::string& repository,
                                                   const oci::Digest& image);

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

// What starts of another image read of these layer blobs, whatever repository it is in, and nothing
// of its other layers: of the images that have such a profile, the one that shares most of them; of
// several, the one whose profile was noted last. Whoever has a layer has all its files, so nothing
// is told of files that its readers could not read. Empty when there is none.
Result<std::optional<artifact::Profile>> shared_starts(meta::MetadataStore& metadata,
                                                       const std::set<oci::Digest>& blobs);

}  // namespace runnel::registry
