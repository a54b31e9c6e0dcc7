#include "registry/conversion_source.h"

#include <algorithm>

#include "artifact/boot_blob.h"
#include "base/log.h"
#include "convert/image_artifact.h"
#include "convert/image_kind.h"
#include "oci/media_types.h"
#include "oci/platform.h"

namespace runnel::registry {

namespace {

bool is_streaming_artifact(const oci::Manifest& manifest) {
  const auto& type = manifest.effective_artifact_type();
  return type == oci::kStreamingArtifactHere || type == oci::kStreamingArtifactElsewhere;
}

bool is_wanted(const oci::Platform& platform, const std::vector<std::string>& platforms) {
  if (platform.os != "linux") return false;
  return platforms.empty() || std::ranges::any_of(platforms, [&](const std::string& each) {
           return oci::matches(oci::parse_platform(each), platform);
         });
}

struct Reader {
  meta::MetadataStore& metadata;
  blob::BlobStore& blobs;
  const std::string& repository;
  const std::vector<std::string>& platforms;

  static Result<oci::Manifest> manifest_of(const meta::StoredManifest& stored) {
    return oci::parse_manifest(as_bytes(stored.bytes), stored.info.media_type);
  }

  // `of_wanted`: an index says that it is for one of the platforms, and may say it otherwise than
  // the configuration.
  Convertible<SourceImage> image(const meta::ManifestInfo& info, oci::Manifest manifest,
                                 bool of_wanted) const {
    SourceImage made;
    made.descriptor = descriptor_of(info);
    made.manifest = std::move(manifest);
    if (is_streaming_artifact(made.manifest)) return std::unexpected(unsupported_artifact_type());
    if (!convert::calls_itself_image(made.manifest)) return std::unexpected(image_not_runnable());
    RUNNEL_DO(check_linked(made, made.manifest.config.digest));
    RUNNEL_TRY(const auto bytes,
               read_blob(blobs, made.manifest.config.digest, oci::kMaxConfigBytes));
    auto config = oci::parse_image_config(bytes);
    if (!config) return std::unexpected(image_not_runnable());
    made.config = *std::move(config);
    static const std::vector<std::string> any;
    if (!is_wanted(convert::platform_of(made.config), of_wanted ? any : platforms))
      return std::unexpected(unsupported_platform());
    RUNNEL_DO(check_layers(made));
    return made;
  }

  Convertible<void> check_layers(const SourceImage& made) const {
    const auto& layers = made.manifest.layers;
    if (made.config.diff_ids.size() != layers.size() || !convert::is_image(made.manifest))
      return std::unexpected(image_not_runnable());
    if (layers.size() > artifact::kMaxLayers)
      return std::unexpected(worker_failure(
          Error(Code::kExhausted, fmt::format("{} layers, at most {} can be streamed",
                                              layers.size(), artifact::kMaxLayers))));
    for (const auto& layer : layers) RUNNEL_DO(check_linked(made, layer.digest));
    return {};
  }

  // The store has the blobs of all repositories, and a manifest may name any digest: a layer with
  // URLs needs no link to be pushed, nor does anything where sparse manifests are taken. So what is
  // no blob of this repository is absent, whoever else has it.
  Convertible<void> check_linked(const SourceImage& made, const oci::Digest& digest) const {
    RUNNEL_TRY(const auto linked, metadata.blob_size(repository, digest));
    if (linked) return {};
    log::info("{}@{}: its blob {} is not in the repository", repository, made.descriptor.digest,
              digest);
    return std::unexpected(resource_not_found());
  }

  // Where the index does not name a platform, only the manifest and its configuration tell.
  static bool is_no_wanted_image(const ConversionFailure& failure) {
    return failure.code == unsupported_platform().code || failure.code == image_not_runnable().code;
  }

  Convertible<ConversionSource> index(const meta::StoredManifest& stored) const {
    RUNNEL_TRY(const auto index, oci::parse_index(as_bytes(stored.bytes), stored.info.media_type));
    ConversionSource source;
    source.indexes.push_back(descriptor_of(stored.info));
    bool absent = false;
    for (const auto& child : index.manifests) {
      if (!oci::is_manifest_type(child.media_type)) continue;
      if (child.platform && !is_wanted(*child.platform, platforms)) continue;
      RUNNEL_TRY(const auto found, metadata.manifest(repository, child.digest));
      if (!found) {
        absent = true;
        continue;
      }
      RUNNEL_TRY(auto manifest, manifest_of(*found));
      if (!convert::calls_itself_image(manifest)) continue;
      auto made = image(found->info, std::move(manifest), child.platform.has_value());
      if (!made && !child.platform && is_no_wanted_image(made.error())) continue;
      if (!made) return std::unexpected(made.error());
      source.images.push_back(*std::move(made));
    }
    if (!source.images.empty()) return source;
    return std::unexpected(absent ? resource_not_found() : no_supported_platform_found());
  }
};

}  // namespace

bool may_be_converted(const oci::Document& pushed, const std::vector<std::string>& platforms) {
  if (oci::subject(pushed)) return false;
  if (const auto* manifest = std::get_if<oci::Manifest>(&pushed))
    return convert::is_image(*manifest);
  return std::ranges::any_of(
      std::get<oci::Index>(pushed).manifests, [&](const oci::Descriptor& child) {
        // A list of referrers that a client keeps by itself says of each what it is.
        const bool artifact =
            !child.artifact_type.empty() && !oci::is_image_config_type(child.artifact_type);
        return oci::is_manifest_type(child.media_type) && !artifact &&
               (!child.platform || is_wanted(*child.platform, platforms));
      });
}

oci::Descriptor descriptor_of(const meta::ManifestInfo& info) {
  oci::Descriptor descriptor;
  descriptor.media_type = info.media_type;
  descriptor.digest = info.digest;
  descriptor.size = info.size;
  return descriptor;
}

Result<Buffer> read_blob(blob::BlobStore& blobs, const oci::Digest& digest, size_t limit) {
  RUNNEL_TRY(auto content, blobs.open(digest));
  if (!content) return fail(Code::kUnavailable, "blob {} is not there", digest);
  const auto size = blob::size_of(*content);
  if (size > limit)
    return fail(Code::kExhausted, "blob {} has {} bytes, more than {}", digest, size, limit);
  Buffer bytes(size);
  if (auto* file = std::get_if<blob::FileContent>(&*content)) {
    RUNNEL_DO(read_exact_at(file->file->get(), bytes, 0));
    return bytes;
  }
  auto* stream = std::get_if<blob::StreamContent>(&*content);
  if (stream == nullptr)
    return fail(Code::kUnsupported, "blob {} lies where a conversion cannot read it", digest);
  for (size_t at = 0; at < bytes.size();) {
    RUNNEL_TRY(const auto count, stream->reader->read_at(at, MutableBytes(bytes).subspan(at)));
    if (count == 0) return fail(Code::kUnavailable, "blob {} ends at byte {}", digest, at);
    at += count;
  }
  return bytes;
}

Convertible<ConversionSource> read_conversion_source(meta::MetadataStore& metadata,
                                                     blob::BlobStore& blobs,
                                                     const std::string& repository,
                                                     const oci::Digest& digest,
                                                     const std::vector<std::string>& platforms) {
  const Reader reader{metadata, blobs, repository, platforms};
  RUNNEL_TRY(const auto stored, metadata.manifest(repository, digest));
  if (!stored) {
    // A layer or a configuration is there, but is nothing that could be converted.
    RUNNEL_TRY(const auto blob, metadata.blob_size(repository, digest));
    return std::unexpected(blob ? unsupported_media_type() : resource_not_found());
  }
  if (oci::is_index_type(stored->info.media_type)) return reader.index(*stored);
  if (!oci::is_manifest_type(stored->info.media_type))
    return std::unexpected(unsupported_media_type());
  ConversionSource source;
  RUNNEL_TRY(auto manifest, Reader::manifest_of(*stored));
  RUNNEL_TRY(auto image, reader.image(stored->info, std::move(manifest), false));
  source.images.push_back(std::move(image));
  return source;
}

}  // namespace runnel::registry
