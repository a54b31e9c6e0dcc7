#include "convert/image_artifact.h"

namespace runnel::convert {

oci::Platform platform_of(const oci::ImageConfig& config) {
  return {.os = config.os, .architecture = config.architecture, .variant = config.variant};
}

artifact::Artifact describe_artifact(const oci::Manifest& image, const oci::ImageConfig& config,
                                     const std::vector<MadeLayer>& layers, const MadeBoot& boot,
                                     const std::string& artifact_type) {
  artifact::Artifact made;
  for (size_t i = 0; i < layers.size(); ++i) {
    made.layers.push_back({.source = image.layers[i].digest,
                           .diff_id = config.diff_ids[i],
                           .blob = layers[i].blob,
                           .blob_size = layers[i].size,
                           .table_digest = layers[i].table_digest});
  }
  made.platform = platform_of(config);
  made.artifact_type = artifact_type;
  made.producer = artifact::producer();
  made.boot = boot.digest;
  made.boot_size = boot.size;
  made.head = boot.head;
  made.head_size = boot.head_size;
  made.generation = boot.generation;
  made.hot = boot.hot;
  return made;
}

}  // namespace runnel::convert
