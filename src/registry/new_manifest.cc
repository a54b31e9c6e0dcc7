#include "registry/new_manifest.h"

#include "oci/document.h"
#include "oci/media_types.h"

namespace runnel::registry {

namespace {

bool may_lie_elsewhere(const oci::Descriptor& layer) {
  return !layer.urls.empty() || oci::is_nondistributable_layer_type(layer.media_type);
}

void add_details(const oci::Manifest& manifest, meta::NewManifest& made) {
  made.blobs.push_back(manifest.config.digest);
  for (const auto& layer : manifest.layers)
    (may_lie_elsewhere(layer) ? made.named : made.blobs).push_back(layer.digest);
  made.descriptor.artifact_type = manifest.effective_artifact_type();
  made.descriptor.annotations = manifest.annotations;
}

void add_details(const oci::Index& index, meta::NewManifest& made) {
  for (const auto& child : index.manifests) made.named.push_back(child.digest);
  made.descriptor.artifact_type = index.artifact_type;
  made.descriptor.annotations = index.annotations;
}

}  // namespace

Result<meta::NewManifest> new_manifest(Bytes bytes, std::string_view content_type,
                                       oci::Algorithm algorithm) {
  RUNNEL_TRY(const auto document, oci::parse_document(bytes, content_type));
  meta::NewManifest made;
  made.digest = oci::Digest::of(bytes, algorithm);
  made.media_type = oci::media_type(document);
  made.bytes = bytes;
  if (const auto& subject = oci::subject(document)) made.subject = subject->digest;
  made.descriptor.media_type = made.media_type;
  made.descriptor.digest = made.digest;
  made.descriptor.size = bytes.size();
  std::visit([&](const auto& each) { add_details(each, made); }, document);
  return made;
}

}  // namespace runnel::registry
