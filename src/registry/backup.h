// A copy of a data directory that is used, good as of one moment: itself a data directory, from
// which a registry can serve.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "base/error.h"
#include "blob/blob_store.h"
#include "meta/sqlite_store.h"

namespace runnel::registry {

struct BackedUp {
  size_t blobs = 0;  // that were copied; those of an earlier backup in the same place stay
  uint64_t bytes = 0;
  // Blobs that the backup lacks because the store itself has lost or damaged them: which, and why.
  std::vector<std::string> lost;
};

// Copies what is in the stores, and the keys and the audit log of the data directory `data`, to the
// directory `to`, which is absent, empty, or an earlier backup. Every blob is verified on its way:
// one that is damaged, unreadable or gone is named in `lost`, and everything else is saved. After
// an error the earlier backup's database is still in place. kConflict, and nothing changed, while
// another backup, of whatever process, is written to the same place, and when `to` is `data` or has
// something else in it.
Result<BackedUp> back_up(const std::string& data, blob::BlobStore& blobs,
                         meta::SqliteStore& metadata, const Clock& clock, const std::string& to);

}  // namespace runnel::registry
