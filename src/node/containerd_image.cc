#include "node/containerd_image.h"

#include "convert/find_artifact.h"
#include "oci/document.h"
#include "oci/image_config.h"
#include "oci/media_types.h"

namespace runnel::node {

namespace {

Result<Buffer> read_verified(const snapshot::ContainerdImages& containerd,
                             const oci::Digest& digest, uint64_t limit) {
  RUNNEL_TRY(auto bytes, containerd.read_content(digest.to_string(), limit));
  oci::Digester digester(digest.algorithm());
  digester.update(bytes);
  if (digester.finish() == digest) return bytes;
  return fail(Code::kInvalid, "{}: containerd's content store has other bytes under that digest",
              digest);
}

Result<void> read_manifest(const snapshot::ContainerdImages& containerd, const std::string& name,
                           ContainerdImage& image) {
  RUNNEL_TRY(const auto target, containerd.image(name));
  image.media_type = target.media_type;
  RUNNEL_TRY(image.digest, oci::Digest::parse(target.digest));
  RUNNEL_TRY(image.bytes, read_verified(containerd, image.digest, oci::kMaxDocumentBytes));
  RUNNEL_TRY(auto document, oci::parse_document(image.bytes, image.media_type));
  if (const auto* index = std::get_if<oci::Index>(&document)) {
    RUNNEL_TRY(image.digest, convert::platform_manifest(*index));
    for (const auto& child : index->manifests) {
      if (child.digest == image.digest) image.media_type = child.media_type;
    }
    RUNNEL_TRY(image.bytes, read_verified(containerd, image.digest, oci::kMaxDocumentBytes));
    RUNNEL_TRY(document, oci::parse_document(image.bytes, image.media_type));
  }
  auto* manifest = std::get_if<oci::Manifest>(&document);
  if (manifest == nullptr || !oci::is_image_config_type(manifest->config.media_type)) {
    return fail(Code::kUnsupported, "{} is not a container image", image.digest);
  }
  image.manifest = std::move(*manifest);
  return {};
}

}  // namespace

Result<ContainerdImage> find_image(const snapshot::ContainerdImages& containerd,
                                   const std::string& name) {
  ContainerdImage image;
  RUNNEL_DO(read_manifest(containerd, name, image));
  RUNNEL_TRY(const Buffer config,
             read_verified(containerd, image.manifest.config.digest, oci::kMaxConfigBytes));
  RUNNEL_TRY(auto parsed, oci::parse_image_config(config));
  image.diff_ids = std::move(parsed.diff_ids);
  if (image.diff_ids.size() == image.manifest.layers.size()) return image;
  return fail(Code::kInvalid, "{} has {} layers, its configuration names {}", image.digest,
              image.manifest.layers.size(), image.diff_ids.size());
}

}  // namespace runnel::node
