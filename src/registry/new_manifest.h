// From the bytes of a pushed manifest to what the metadata store keeps of it.
#pragma once

#include <string_view>

#include "base/bytes.h"
#include "base/error.h"
#include "meta/metadata_store.h"
#include "oci/digest.h"

namespace runnel::registry {

// Reads a manifest or index that was pushed as `content_type`; `bytes` must outlive the result. The
// digest is the one with `algorithm`. Layers that may lie elsewhere (non-distributable ones, and
// those with URLs) are named and not among its blobs. Fails as oci::parse_document does.
Result<meta::NewManifest> new_manifest(Bytes bytes, std::string_view content_type,
                                       oci::Algorithm algorithm);

}  // namespace runnel::registry
