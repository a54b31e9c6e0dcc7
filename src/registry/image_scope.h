// What a token may read that is limited to images: the manifests themselves, what they consist of,
// and what refers to them (streaming artifacts, signatures) with its blobs.
#pragma once

#include <vector>

#include "base/error.h"
#include "meta/metadata_store.h"
#include "registry/route.h"

namespace runnel::registry {

// Whether the blob, the manifest or the list of referrers that `route` names belongs to one of the
// images, which are manifests or indexes of its repository. False for every other kind of route,
// and for what is not there. An index reaches its first 32 manifests, a manifest its newest 32
// referrers. Reads the metadata a few times an image: call it from a pool's thread.
Result<bool> belongs_to_images(meta::MetadataStore& metadata, const Route& route,
                               const std::vector<oci::Digest>& images);

}  // namespace runnel::registry
