// An artifact's manifest out of what was made of an image: the same whoever made it, so that equal
// images have equal artifacts.
#pragma once

#include <string>
#include <vector>

#include "artifact/artifact.h"
#include "codec/sha256.h"
#include "oci/digest.h"
#include "oci/image_config.h"
#include "oci/manifest.h"

namespace runnel::convert {

struct MadeLayer {
  oci::Digest blob;
  uint64_t size = 0;
  codec::Sha256Value table_digest{};
};

struct MadeBoot {
  oci::Digest digest;
  uint64_t size = 0;
  oci::Digest head;
  uint64_t head_size = 0;
  uint64_t generation = 1;
  std::string hot;  // artifact::kHotAnnotation
};

oci::Platform platform_of(const oci::ImageConfig& config);

// `layers[i]` is made of the image's i-th layer. The subject is still to be set, and the signature.
artifact::Artifact describe_artifact(const oci::Manifest& image, const oci::ImageConfig& config,
                                     const std::vector<MadeLayer>& layers, const MadeBoot& boot,
                                     const std::string& artifact_type);

}  // namespace runnel::convert
