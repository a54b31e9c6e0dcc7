// Where a layer blob has its tree and its chunk table, and what verifies them. Stands in the layer
// blob's footer and in the boot blob's layer records, 104 bytes:
//
//    0  tree_offset u64   8  tree_stored u64   16  tree_size u64 (plain)   24  SHA-256, plain tree
//   56  table_offset u64  64  table_size u64   72  table digest
#pragma once

#include <cstdint>

#include "base/bytes.h"
#include "base/error.h"
#include "codec/sha256.h"

namespace runnel::artifact {

inline constexpr size_t kLayerFooterSize = 160;
// What an untrusted record may claim. The largest chunk table has 808 MiB, and no sum of these
// wraps.
inline constexpr uint64_t kMaxBlobSize = uint64_t{1} << 60;
inline constexpr uint64_t kMaxTableSize = uint64_t{1} << 30;
inline constexpr uint64_t kMaxTreeStored = uint64_t{2} << 30;

struct LayerParts {
  uint64_t tree_offset = 0;
  uint64_t tree_stored = 0;
  uint64_t tree_size = 0;
  codec::Sha256Value tree_digest{};
  uint64_t table_offset = 0;
  uint64_t table_size = 0;
  codec::Sha256Value table_digest{};

  bool operator==(const LayerParts&) const = default;
};

void write_parts(ByteWriter& out, const LayerParts& parts);

// kInvalid unless the sizes are within the limits above, and tree, table and footer stand one after
// the other up to the end of a blob of `blob_size` bytes.
Result<LayerParts> read_parts(ByteReader& reader, uint64_t blob_size);

Result<codec::Sha256Value> read_digest(ByteReader& reader);

}  // namespace runnel::artifact
