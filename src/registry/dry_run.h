// What a collection would do: the collection itself, on a copy of the database and with a blob
// store that only writes down what it is told to remove.
#pragma once

#include <string>
#include <vector>

#include "meta/sqlite_store.h"
#include "registry/collector.h"

namespace runnel::registry {

struct WouldCollect {
  Collected collected;
  std::vector<oci::Digest> blobs;  // that would be removed
};

// Nobody who uses the stores notices. Needs room for the copy in the directory for temporary files.
Result<WouldCollect> collect_dry(blob::BlobStore& blobs, meta::SqliteStore& metadata,
                                 const Clock& clock, Duration lifetime, Duration undo_time);

}  // namespace runnel::registry
