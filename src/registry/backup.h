// A copy of a data directory that is used, good as of one moment: itself a data directory, from
// which a registry can serve.
#pragma once

#include <cstdint>
#include <string>

#include "base/error.h"
#include "blob/blob_store.h"
#include "meta/sqlite_store.h"

namespace runnel::registry {

struct BackedUp {
  size_t blobs = 0;  // that were copied; those of an earlier backup in the same place stay
  uint64_t bytes = 0;
};

// Copies what is in the stores, and the token key of the data directory `data`, to the directory
// `to`, which is absent, empty, or an earlier backup. Every blob is verified on its way: a damaged
// one ends the backup (kInvalid), after which the earlier backup's database is still in place.
Result<BackedUp> back_up(const std::string& data, blob::BlobStore& blobs,
                         meta::SqliteStore& metadata, const Clock& clock, const std::string& to);

}  // namespace runnel::registry
