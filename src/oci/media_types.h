// The media types of manifests and what they point at.
#pragma once

#include <string_view>

namespace runnel::oci {

inline constexpr std::string_view kOciManifest = "application/vnd.oci.image.manifest.v1+json";
inline constexpr std::string_view kOciIndex = "application/vnd.oci.image.index.v1+json";
inline constexpr std::string_view kOciConfig = "application/vnd.oci.image.config.v1+json";
inline constexpr std::string_view kOciLayerTar = "application/vnd.oci.image.layer.v1.tar";
inline constexpr std::string_view kOciLayerGzip = "application/vnd.oci.image.layer.v1.tar+gzip";
inline constexpr std::string_view kOciLayerZstd = "application/vnd.oci.image.layer.v1.tar+zstd";
inline constexpr std::string_view kOciEmpty = "application/vnd.oci.empty.v1+json";

inline constexpr std::string_view kDockerManifest =
    "application/vnd.docker.distribution.manifest.v2+json";
inline constexpr std::string_view kDockerList =
    "application/vnd.docker.distribution.manifest.list.v2+json";
inline constexpr std::string_view kDockerConfig = "application/vnd.docker.container.image.v1+json";
inline constexpr std::string_view kDockerForeignLayer =
    "application/vnd.docker.image.rootfs.foreign.diff.tar.gzip";

// What a client sends in Accept to get any manifest or index.
inline constexpr std::string_view kAcceptManifests =
    "application/vnd.oci.image.manifest.v1+json, application/vnd.oci.image.index.v1+json, "
    "application/vnd.docker.distribution.manifest.v2+json, "
    "application/vnd.docker.distribution.manifest.list.v2+json";

constexpr bool is_manifest_type(std::string_view type) {
  return type == kOciManifest || type == kDockerManifest;
}
constexpr bool is_index_type(std::string_view type) {
  return type == kOciIndex || type == kDockerList;
}
// Configurations of container images, as opposed to those of other artifacts.
constexpr bool is_image_config_type(std::string_view type) {
  return type == kOciConfig || type == kDockerConfig;
}
// Layers that may lie elsewhere only: a registry must not ask for their bytes.
constexpr bool is_nondistributable_layer_type(std::string_view type) {
  return type == kDockerForeignLayer ||
         type.starts_with("application/vnd.oci.image.layer.nondistributable.v1.tar");
}

// A streaming artifact (docs/interfaces.md): in our own registry, and in any other.
inline constexpr std::string_view kStreamingArtifactHere =
    "application/vnd.azure.artifact.streaming.v1";
inline constexpr std::string_view kStreamingArtifactElsewhere =
    "application/vnd.runnel.streaming.v1";

}  // namespace runnel::oci
