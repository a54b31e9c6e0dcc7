// artifact/ is the streaming artifact's format: how a layer becomes a device image in chunks
// (chunker, chunk_table, layer_blob), what its names are (tree_builder, layer_tree), how layers
// merge (merge), what an image's start needs (boot_blob), and the manifest that ties them to the
// image (here). docs/format.md tells the whole of it.
//
// It does not hold: any I/O beyond a file descriptor it is given, the network, the pipeline that
// converts an image (convert/). Everything is a value, a pure function, or bound to one thread.
//
// This file is the artifact's OCI manifest: an image manifest whose subject is the manifest it was
// made from.
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/error.h"
#include "codec/sha256.h"
#include "oci/descriptor.h"
#include "oci/manifest.h"
#include "oci/media_types.h"

namespace runnel::artifact {

// What our own registry serves, and what goes to any other (docs/interfaces.md says why there are
// two). Nodes accept both.
inline constexpr std::string_view kAzureArtifactType = oci::kStreamingArtifactHere;
inline constexpr std::string_view kArtifactType = oci::kStreamingArtifactElsewhere;
inline constexpr std::string_view kConfigType = "application/vnd.runnel.config.v1+json";
inline constexpr std::string_view kLayerType = "application/vnd.runnel.layer.v1";
inline constexpr std::string_view kBootType = "application/vnd.runnel.boot.v1";

inline constexpr std::string_view kFormat = "runnel-erofs";
inline constexpr std::string_view kFormatVersion = "1";

inline constexpr std::string_view kFormatAnnotation = "streaming.format";
inline constexpr std::string_view kVersionAnnotation = "streaming.version";
inline constexpr std::string_view kGenerationAnnotation = "dev.runnel.generation";

// What the hot pack was made of: one of the three below. For people: nothing depends on it, so it
// is not signed.
inline constexpr std::string_view kHotAnnotation = "dev.runnel.hot";
inline constexpr std::string_view kHotGuessed = "guessed";  // from the image's command
inline constexpr std::string_view kHotSeeded = "seeded";    // from starts of an earlier version, or
                                                            // of images with the same layers
inline constexpr std::string_view kHotRecorded = "recorded";  // from starts of this very image

// The configuration blob of every artifact.
inline constexpr std::string_view kConfigBlob = R"({"format":"runnel-erofs","version":"1"})";

// One source layer's blob.
struct ArtifactLayer {
  oci::Digest source;   // the layer in the image
  oci::Digest diff_id;  // its digest uncompressed
  oci::Digest blob;
  uint64_t blob_size = 0;
  codec::Sha256Value table_digest{};

  bool operator==(const ArtifactLayer&) const = default;
};

struct Artifact {
  oci::Descriptor subject;  // type, digest and size of the manifest it belongs to
  oci::Platform platform;
  std::string artifact_type;
  std::string producer;
  std::vector<ArtifactLayer> layers;  // the image's layers, lowest first
  oci::Digest boot;
  uint64_t boot_size = 0;
  oci::Digest head;
  uint64_t head_size = 0;
  uint64_t generation = 1;
  std::string hot;        // as kHotAnnotation says; empty: it does not
  std::string key_id;     // empty: not signed
  std::string signature;  // base64

  bool operator==(const Artifact&) const = default;
};

// What made the bytes: "runnel/0.1.0 zstd/1.5.4 level/3".
std::string producer();

oci::Manifest to_manifest(const Artifact& artifact);

// kUnsupported for a format or version this program does not know; kInvalid says what is wrong.
Result<Artifact> parse_artifact(const oci::Manifest& manifest);

}  // namespace runnel::artifact
