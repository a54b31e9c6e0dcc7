// What a conversion is made from: the images behind a digest of a repository, read from the
// registry's own stores and found fit.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "blob/blob_store.h"
#include "meta/metadata_store.h"
#include "oci/document.h"
#include "oci/image_config.h"
#include "oci/manifest.h"
#include "registry/conversion_error.h"

namespace runnel::registry {

struct SourceImage {
  oci::Descriptor descriptor;  // of the manifest
  oci::Manifest manifest;
  oci::ImageConfig config;  // as many diff IDs as the manifest has layers
};

struct ConversionSource {
  std::vector<SourceImage> images;  // one, or those of an index's platforms
  // Each of the images gets an artifact, and so does each of these for each of them: the index that
  // it was, or those in which an image was converted before.
  std::vector<oci::Descriptor> indexes;
};

// `platforms` ("linux/amd64", "linux/arm/v7") are those that are converted, compared as
// oci::matches() does; empty: every Linux one. An index's word goes before the configuration's.
// Of an index, the other ones and what is no image (attestations, artifacts) are left out, and so
// are children that the repository does not have. Every image's configuration and layers are blobs
// of the repository: RESOURCE_NOT_FOUND otherwise. Blocks.
Convertible<ConversionSource> read_conversion_source(meta::MetadataStore& metadata,
                                                     blob::BlobStore& blobs,
                                                     const std::string& repository,
                                                     const oci::Digest& digest,
                                                     const std::vector<std::string>& platforms);

// Whether what was just pushed can be worth a conversion, as far as it says so itself: an image, or
// an index with an image for one of the platforms. Signatures, other artifacts, lists of referrers
// and build caches are not, though some of them call themselves images.
bool may_be_converted(const oci::Document& pushed, const std::vector<std::string>& platforms);

// The descriptor of a manifest that the store has.
oci::Descriptor descriptor_of(const meta::ManifestInfo& info);

// The bytes of a blob of at most `limit` bytes. kUnavailable when it is not there.
Result<Buffer> read_blob(blob::BlobStore& blobs, const oci::Digest& digest, size_t limit);

}  // namespace runnel::registry
