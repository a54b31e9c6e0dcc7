// What a check, a backup or an account of a whole metadata store is made of.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "meta/metadata_store.h"

namespace runnel::meta {

// A blob with what its links say of it.
struct LinkedBlob {
  oci::Digest digest;
  uint64_t smallest = 0;  // the size in the links: all say the same unless something is damaged
  uint64_t largest = 0;
};

struct PlacedManifest {
  int64_t position = 0;  // where the next page starts
  std::string repository;
  bool deleted = false;  // and can come back
  StoredManifest stored;
};

// Bytes of blobs and manifests; what is deleted and can come back counts.
struct Usage {
  struct Repository {
    std::string name;
    uint64_t logical = 0;  // each of its blobs once
    uint64_t unique = 0;   // of them, those that no other repository has: freed with it
  };
  std::vector<Repository> repositories;
  uint64_t logical = 0;  // the sum of the repositories
  uint64_t stored = 0;   // each blob once
  uint64_t shared = 0;   // of them, those of several repositories
};

}  // namespace runnel::meta
