// Looks at everything that a registry has: the database's structure, every manifest's bytes, every
// blob that a repository links, and what crashes leave.
//
// May run while registries serve the same data directory: what changes meanwhile is looked at
// again before it is called damaged.
#pragma once

#include <string>
#include <vector>

#include "base/error.h"
#include "blob/directory_store.h"
#include "meta/sqlite_store.h"

namespace runnel::registry {

struct Finding {
  std::string what;       // and what to do about it
  bool repaired = false;  // or made harmless
};

struct Checked {
  size_t manifests = 0;
  size_t blobs = 0;
  uint64_t bytes = 0;
  std::vector<Finding> findings;
};

// With `repair`: blobs with wrong bytes are set aside, manifests with wrong bytes are removed,
// sizes are set right, uploads that nobody knows go. What is lost then counts as absent, and a push
// brings it back.
Result<Checked> fsck(blob::DirectoryStore& blobs, meta::SqliteStore& metadata, bool repair);

}  // namespace runnel::registry
