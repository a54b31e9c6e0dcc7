// Whether a blob is still what its digest says.
#pragma once

#include <functional>

#include "base/error.h"
#include "blob/blob_store.h"

namespace runnel::registry {

enum class BlobState : uint8_t { kGood, kAbsent, kDamaged };

// Reads all of it. `after_block` is told the bytes of each block that was read; its error ends it.
Result<BlobState> check_blob(blob::BlobStore& blobs, const oci::Digest& digest,
                             const std::function<Result<void>(size_t)>& after_block);

// Reads a blob to its end. kUnsupported when the store gives it away by redirect only.
Result<void> read_blob(const blob::Content& content, const std::function<Result<void>(Bytes)>& use);

}  // namespace runnel::registry
