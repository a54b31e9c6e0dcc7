#include "artifact/artifact.h"

#include <charconv>

#include "artifact/boot_blob.h"
#include "codec/zstd.h"
#include "oci/media_types.h"

namespace runnel::artifact {

namespace {

constexpr const char* kOs = "streaming.platform.os";
constexpr const char* kArchitecture = "streaming.platform.arch";
constexpr const char* kVariant = "streaming.platform.variant";
constexpr const char* kProducer = "dev.runnel.producer";
constexpr const char* kBoot = "dev.runnel.boot";
constexpr const char* kHead = "dev.runnel.head";
constexpr const char* kKeyId = "dev.runnel.key-id";
constexpr const char* kSignature = "dev.runnel.signature";
constexpr const char* kSource = "dev.runnel.source";
constexpr const char* kTable = "dev.runnel.table";

std::string optional_annotation(const oci::Annotations& annotations, std::string_view key) {
  const auto found = annotations.find(std::string(key));
  return found == annotations.end() ? std::string() : found->second;
}

Result<std::string> annotation(const oci::Annotations& annotations, std::string_view key) {
  auto value = optional_annotation(annotations, key);
  if (value.empty())
    return fail(Code::kInvalid, "artifact manifest: annotation {} is missing", key);
  return value;
}

Result<uint64_t> number(std::string_view text, std::string_view what) {
  uint64_t value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error != std::errc() || end != text.data() + text.size()) {
    return fail(Code::kInvalid, "artifact manifest: {} is \"{}\", not a number", what, text);
  }
  return value;
}

// "A B" as two texts.
Result<std::pair<std::string, std::string>> pair_of(const std::string& text,
                                                    std::string_view what) {
  const auto space = text.find(' ');
  if (space == std::string::npos) {
    return fail(Code::kInvalid, "artifact manifest: annotation {} is \"{}\"", what, text);
  }
  return std::pair(text.substr(0, space), text.substr(space + 1));
}

Result<ArtifactLayer> parse_layer(const oci::Descriptor& descriptor) {
  if (descriptor.media_type != kLayerType) {
    return fail(Code::kInvalid, "artifact manifest: a blob of type {}", descriptor.media_type);
  }
  ArtifactLayer layer;
  RUNNEL_TRY(const auto source_text, annotation(descriptor.annotations, kSource));
  RUNNEL_TRY(const auto source, pair_of(source_text, kSource));
  RUNNEL_TRY(layer.source, oci::Digest::parse(source.first));
  RUNNEL_TRY(layer.diff_id, oci::Digest::parse(source.second));
  RUNNEL_TRY(const auto table_text, annotation(descriptor.annotations, kTable));
  RUNNEL_TRY(const auto table, oci::Digest::parse(table_text));
  RUNNEL_TRY(layer.table_digest, table.sha256_value());
  RUNNEL_DO(descriptor.digest.sha256_value());
  layer.blob = descriptor.digest;
  layer.blob_size = descriptor.size;
  return layer;
}

}  // namespace

std::string producer() {
  return fmt::format("runnel/{} zstd/{} level/{}", RUNNEL_VERSION, codec::zstd_version(),
                     kZstdLevel);
}

oci::Manifest to_manifest(const Artifact& artifact) {
  oci::Manifest manifest;
  manifest.media_type = oci::kOciManifest;
  manifest.artifact_type = artifact.artifact_type;
  manifest.config = {.media_type = std::string(kConfigType),
                     .digest = oci::Digest::of(as_bytes(kConfigBlob)),
                     .size = kConfigBlob.size()};
  for (const auto& layer : artifact.layers) {
    manifest.layers.push_back(
        {.media_type = std::string(kLayerType),
         .digest = layer.blob,
         .size = layer.blob_size,
         .annotations = {{kSource, fmt::format("{} {}", layer.source, layer.diff_id)},
                         {kTable, oci::Digest::from_sha256(layer.table_digest).to_string()}}});
  }
  manifest.layers.push_back(
      {.media_type = std::string(kBootType), .digest = artifact.boot, .size = artifact.boot_size});
  manifest.subject = oci::Descriptor{.media_type = artifact.subject.media_type,
                                     .digest = artifact.subject.digest,
                                     .size = artifact.subject.size};
  auto& annotations = manifest.annotations;
  annotations[std::string(kFormatAnnotation)] = kFormat;
  annotations[std::string(kVersionAnnotation)] = kFormatVersion;
  annotations[kOs] = artifact.platform.os;
  annotations[kArchitecture] = artifact.platform.architecture;
  if (!artifact.platform.variant.empty()) annotations[kVariant] = artifact.platform.variant;
  annotations[kProducer] = artifact.producer;
  annotations[kBoot] = artifact.boot.to_string();
  annotations[kHead] = fmt::format("{} {}", artifact.head, artifact.head_size);
  annotations[std::string(kGenerationAnnotation)] = fmt::to_string(artifact.generation);
  if (!artifact.hot.empty()) annotations[std::string(kHotAnnotation)] = artifact.hot;
  if (!artifact.key_id.empty()) {
    annotations[kKeyId] = artifact.key_id;
    annotations[kSignature] = artifact.signature;
  }
  return manifest;
}

Result<Artifact> parse_artifact(const oci::Manifest& manifest) {
  const auto& annotations = manifest.annotations;
  Artifact artifact;
  artifact.artifact_type = manifest.effective_artifact_type();
  const auto format = optional_annotation(annotations, kFormatAnnotation);
  const auto version = optional_annotation(annotations, kVersionAnnotation);
  if ((artifact.artifact_type != kArtifactType && artifact.artifact_type != kAzureArtifactType) ||
      format != kFormat || version != kFormatVersion) {
    return fail(Code::kUnsupported,
                "artifact of type {}, format \"{}\" version \"{}\": this program reads {} {}",
                artifact.artifact_type, format, version, kFormat, kFormatVersion);
  }
  if (!manifest.subject) return fail(Code::kInvalid, "artifact manifest: it has no subject");
  artifact.subject = *manifest.subject;
  artifact.platform.os = optional_annotation(annotations, kOs);
  artifact.platform.architecture = optional_annotation(annotations, kArchitecture);
  artifact.platform.variant = optional_annotation(annotations, kVariant);
  artifact.producer = optional_annotation(annotations, kProducer);
  artifact.hot = optional_annotation(annotations, kHotAnnotation);
  artifact.key_id = optional_annotation(annotations, kKeyId);
  artifact.signature = optional_annotation(annotations, kSignature);

  RUNNEL_TRY(const auto generation, annotation(annotations, kGenerationAnnotation));
  RUNNEL_TRY(artifact.generation, number(generation, kGenerationAnnotation));
  RUNNEL_TRY(const auto head_text, annotation(annotations, kHead));
  RUNNEL_TRY(const auto head, pair_of(head_text, kHead));
  RUNNEL_TRY(artifact.head, oci::Digest::parse(head.first));
  RUNNEL_DO(artifact.head.sha256_value());
  RUNNEL_TRY(artifact.head_size, number(head.second, kHead));

  const auto& blobs = manifest.layers;
  if (blobs.empty() || blobs.back().media_type != kBootType || blobs.size() > kMaxLayers + 1) {
    return fail(Code::kInvalid, "artifact manifest: {} blobs, the last is not a boot blob",
                blobs.size());
  }
  artifact.boot = blobs.back().digest;
  artifact.boot_size = blobs.back().size;
  RUNNEL_DO(artifact.boot.sha256_value());
  if (artifact.head_size == 0 || artifact.head_size > artifact.boot_size ||
      artifact.head_size > kMaxHeadSize) {
    return fail(Code::kInvalid, "artifact manifest: a head of {} bytes in a boot blob of {}",
                artifact.head_size, artifact.boot_size);
  }
  for (size_t i = 0; i + 1 < blobs.size(); ++i) {
    RUNNEL_TRY(auto layer, parse_layer(blobs[i]));
    artifact.layers.push_back(std::move(layer));
  }
  return artifact;
}

}  // namespace runnel::artifact
