// The cache's directory as a whole: what is in it, how full its file system is, and how a layer
// goes from it.
#pragma once

#include <string>
#include <vector>

#include "base/clock.h"
#include "base/error.h"
#include "oci/digest.h"

namespace runnel::cache {

struct StoredLayer {
  oci::Digest digest;
  uint64_t bytes = 0;  // allocated
  WallTime used{};
};

// The layers below `directory`.
Result<std::vector<StoredLayer>> scan_layers(const std::string& directory);

// At no moment does the layer look valid and lack data. Nothing happens when it is not there. After
// an error it is either there as before (is_stored()), or has left what remove_leftovers() deletes.
Result<void> delete_layer(const std::string& path);
bool is_stored(const std::string& path);

// What deletions have left in `directory` that were cut short, or failed.
Result<void> remove_leftovers(const std::string& directory);

// Bytes that the layer's files take on the disk.
uint64_t allocated_bytes(const std::string& path);

// Writes down that the layer was used now.
void set_used(const std::string& path, WallTime when);

}  // namespace runnel::cache
