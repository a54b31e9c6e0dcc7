// The boot blob: everything that starting an image needs before the first read of a file.
//
//    head    verifies alone, by the digest in the manifest's annotation dev.runnel.head
//    tables  the chunk table of each layer record with device_blocks > 0, in record order
//    hot     the hot pack: the zstd frames of the head's hot entries, in their order
//
// Head:
//
//    0  magic "RNLBOOT\0"         8  version u32 = 1        12  layer_count u32
//   16  required features u64    24  optional features u64  32  generation u64
//   40  image_stored u64         48  image_size u64         56  SHA-256 of the plain EROFS image
//   88  hot_count u32            92  zero[36]
//  128  layer records, 160 bytes each, the lowest layer first
//       hot entries, 8 bytes each
//       the merged EROFS metadata image as one zstd frame (image_stored bytes)
//
// Layer record:
//
//    0  SHA-256 of the layer blob              32  blob size u64
//   40  where tree and table are, 104 bytes (layer_parts.h)
//  144  device_blocks u64                     152  device slot u16 (0: no data), zero[6]
//
// Hot entry: layer record index u16, zero u16, chunk index u32. Slots count from 1 in record order;
// records of one blob that occurs twice share one slot (and one table). The EROFS image names its
// devices by slot. Level and zstd version decide the stored bytes, nothing else does.
#pragma once

#include <cstdint>
#include <functional>
#include <span>
#include <vector>

#include "artifact/layer_blob.h"
#include "base/bytes.h"
#include "base/error.h"
#include "codec/sha256.h"

namespace runnel::artifact {

inline constexpr uint32_t kBootVersion = 1;
inline constexpr uint64_t kMaxHeadSize = uint64_t{1} << 30;
// All of an image's tables together: they are in memory while they come.
inline constexpr uint64_t kMaxTablesSize = uint64_t{1} << 30;
inline constexpr uint64_t kMaxImageSize = uint64_t{2} << 30;
inline constexpr uint32_t kMaxLayers = 512;

struct LayerRecord {
  codec::Sha256Value blob_digest{};
  uint64_t blob_size = 0;
  LayerParts parts;
  uint64_t device_blocks = 0;
  uint16_t slot = 0;

  bool operator==(const LayerRecord&) const = default;
};

struct HotEntry {
  uint16_t layer = 0;
  uint32_t chunk = 0;

  bool operator==(const HotEntry&) const = default;
};

// The EROFS metadata as it stands in a head.
struct StoredImage {
  uint64_t offset = 0;  // of its frame, from where the head begins
  uint64_t stored = 0;
  uint64_t size = 0;  // plain
  codec::Sha256Value digest{};
};

struct BootHead {
  uint64_t generation = 1;
  std::vector<LayerRecord> layers;
  std::vector<HotEntry> hot;
  Buffer image;        // the plain EROFS metadata, unless it was left where `stored` says
  StoredImage stored;  // of a head that was parsed

  // Bytes of the table section.
  uint64_t tables_size() const;
};

// Sets each record's slot by the rule above.
void assign_slots(std::vector<LayerRecord>& layers);

Buffer serialize_head(const BootHead& head);

// Checks everything but the EROFS image's structure (erofs/validator.h does). The caller has
// verified `bytes` against the head's digest.
Result<BootHead> parse_head(Bytes bytes);
// Leaves the image alone, which of half a million files has 60 MiB.
Result<BootHead> parse_head_without_image(Bytes bytes);

// Hands the image of the head that `head` are the bytes of to `consume`, in pieces. kInvalid when
// it is not what its digest says, which shows after the last piece.
Result<void> unpack_image(const StoredImage& image, Bytes head,
                          const std::function<Result<void>(Bytes)>& consume);
// The same in memory.
Result<Buffer> unpack_image(const StoredImage& image, Bytes head);

// The layer records whose tables stand in the table section, by index: the first of each slot.
std::vector<size_t> records_with_tables(std::span<const LayerRecord> layers);

}  // namespace runnel::artifact
