// What the data of a SqliteStore take of its disks.
#pragma once

#include <cstdint>
#include <string>

#include "base/error.h"

namespace runnel::meta {

struct Stored {
  uint64_t blobs = 0;
  uint64_t blob_bytes = 0;      // each blob once; what is deleted and can come back counts
  uint64_t metadata_bytes = 0;  // of the database, manifests included
};

// Of the database at `path`, in one look at the link of every blob and at no manifest. Blocks.
Result<Stored> stored_in(const std::string& path);

}  // namespace runnel::meta
