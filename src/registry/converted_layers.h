// Which layers were converted before, for whatever image: by the source layer's digest, and by what
// would make other bytes of it (format and producer).
#pragma once

#include <optional>
#include <string>

#include "blob/blob_store.h"
#include "meta/metadata_store.h"
#include "oci/digest.h"

namespace runnel::registry {

struct ConvertedLayer {
  oci::Digest blob;
  uint64_t size = 0;

  bool operator==(const ConvertedLayer&) const = default;
};

// Documents of the metadata store, one a layer. Any thread; calls block.
class ConvertedLayers {
 public:
  ConvertedLayers(meta::MetadataStore& metadata, blob::BlobStore& blobs)
      : metadata_(metadata), blobs_(blobs) {}

  // Empty when there is none, its blob has been collected, or it was made for another diff ID.
  Result<std::optional<ConvertedLayer>> find(const oci::Digest& source,
                                             const oci::Digest& diff_id) const;
  Result<void> remember(const oci::Digest& source, const oci::Digest& diff_id,
                        const ConvertedLayer& layer) const;
  // Looks at some of them, those that come after `after` in the store's order, and forgets those
  // whose blob is gone. Where to go on; empty at the end.
  Result<std::string> forget_absent(const std::string& after) const;

 private:
  meta::MetadataStore& metadata_;
  blob::BlobStore& blobs_;
};

}  // namespace runnel::registry
