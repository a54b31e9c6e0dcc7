#include "artifact/boot_blob.h"

#include <algorithm>
#include <map>

#include "codec/zstd.h"
#include "erofs/tree.h"

namespace runnel::artifact {

namespace {

constexpr std::string_view kMagic{"RNLBOOT\0", 8};
constexpr size_t kHeaderSize = 128;
constexpr size_t kRecordSize = 160;
constexpr size_t kHotEntrySize = 8;
constexpr uint32_t kMaxHotEntries = 1u << 20;

void write_record(ByteWriter& out, const LayerRecord& record) {
  out.bytes(record.blob_digest);
  out.u64(record.blob_size);
  write_parts(out, record.parts);
  out.u64(record.device_blocks);
  out.u16(record.slot);
  out.zeros(6);
}

Result<LayerRecord> read_record(ByteReader& reader) {
  LayerRecord record;
  RUNNEL_TRY(record.blob_digest, read_digest(reader));
  RUNNEL_TRY(record.blob_size, reader.u64());
  RUNNEL_TRY(record.parts, read_parts(reader, record.blob_size));
  RUNNEL_TRY(record.device_blocks, reader.u64());
  RUNNEL_TRY(record.slot, reader.u16());
  RUNNEL_DO(reader.bytes(6));
  if (record.device_blocks > erofs::kMaxDeviceBlocks) {
    return fail(Code::kInvalid, "a device of {} blocks", record.device_blocks);
  }
  return record;
}

}  // namespace

void assign_slots(std::vector<LayerRecord>& layers) {
  std::map<codec::Sha256Value, uint16_t> slots;
  for (auto& record : layers) {
    record.slot = 0;
    if (record.device_blocks == 0) continue;
    record.slot = slots.try_emplace(record.blob_digest, static_cast<uint16_t>(slots.size() + 1))
                      .first->second;
  }
}

std::vector<size_t> records_with_tables(std::span<const LayerRecord> layers) {
  std::vector<size_t> indexes;
  for (size_t i = 0; i < layers.size(); ++i) {
    if (layers[i].slot == indexes.size() + 1) indexes.push_back(i);
  }
  return indexes;
}

uint64_t BootHead::tables_size() const {
  uint64_t size = 0;
  for (const size_t i : records_with_tables(layers)) size += layers[i].parts.table_size;
  return size;
}

Buffer serialize_head(const BootHead& head) {
  const Buffer frame = codec::ZstdCompressor(kZstdLevel).compress(head.image);
  ByteWriter out;
  out.bytes(as_bytes(kMagic));
  out.u32(kBootVersion);
  out.u32(static_cast<uint32_t>(head.layers.size()));
  out.u64(0);
  out.u64(0);
  out.u64(head.generation);
  out.u64(frame.size());
  out.u64(head.image.size());
  out.bytes(codec::sha256(head.image));
  out.u32(static_cast<uint32_t>(head.hot.size()));
  out.zeros(kHeaderSize - out.size());
  for (const auto& record : head.layers) write_record(out, record);
  for (const auto& entry : head.hot) {
    out.u16(entry.layer);
    out.u16(0);
    out.u32(entry.chunk);
  }
  out.bytes(frame);
  return out.take();
}

Result<BootHead> parse_head_without_image(Bytes bytes) {
  ByteReader reader(bytes, "boot head");
  RUNNEL_TRY(const Bytes magic, reader.bytes(kMagic.size()));
  if (as_text(magic) != kMagic) return fail(Code::kInvalid, "boot head: wrong magic");
  RUNNEL_TRY(const uint32_t version, reader.u32());
  RUNNEL_TRY(const uint32_t layer_count, reader.u32());
  RUNNEL_TRY(const uint64_t required_features, reader.u64());
  if (version != kBootVersion || required_features != 0) {
    return fail(Code::kUnsupported,
                "boot head: version {} with required features {:#x}; this program reads version {} "
                "without any",
                version, required_features, kBootVersion);
  }
  BootHead head;
  RUNNEL_DO(reader.u64());
  RUNNEL_TRY(head.generation, reader.u64());
  RUNNEL_TRY(const uint64_t image_stored, reader.u64());
  RUNNEL_TRY(const uint64_t image_size, reader.u64());
  RUNNEL_TRY(const auto image_digest, read_digest(reader));
  RUNNEL_TRY(const uint32_t hot_count, reader.u32());
  RUNNEL_DO(reader.bytes(kHeaderSize - reader.offset()));
  if (layer_count > kMaxLayers || hot_count > kMaxHotEntries || image_size > kMaxImageSize ||
      reader.remaining() < layer_count * kRecordSize + hot_count * kHotEntrySize ||
      reader.remaining() - layer_count * kRecordSize - hot_count * kHotEntrySize != image_stored) {
    return fail(Code::kInvalid,
                "boot head: {} layers, {} hot chunks and {} bytes of metadata in {}", layer_count,
                hot_count, image_stored, bytes.size());
  }

  for (uint32_t i = 0; i < layer_count; ++i) {
    auto record = read_record(reader);
    if (!record) return std::unexpected(record.error().in(fmt::format("boot head: layer {}", i)));
    head.layers.push_back(*record);
  }
  auto expected = head.layers;
  assign_slots(expected);
  if (expected != head.layers) return fail(Code::kInvalid, "boot head: device slots out of order");
  std::map<codec::Sha256Value, const LayerRecord*> records;
  for (const auto& record : head.layers) {
    if (*records.try_emplace(record.blob_digest, &record).first->second != record) {
      return fail(Code::kInvalid, "boot head: two records of one blob differ");
    }
  }

  for (uint32_t i = 0; i < hot_count; ++i) {
    HotEntry entry;
    RUNNEL_TRY(entry.layer, reader.u16());
    RUNNEL_DO(reader.u16());
    RUNNEL_TRY(entry.chunk, reader.u32());
    if (entry.layer >= layer_count || head.layers[entry.layer].slot == 0) {
      return fail(Code::kInvalid, "boot head: hot chunk {} is of layer {}", i, entry.layer);
    }
    head.hot.push_back(entry);
  }
  head.stored = {.offset = reader.offset(),
                 .stored = image_stored,
                 .size = image_size,
                 .digest = image_digest};
  return head;
}

Result<BootHead> parse_head(Bytes bytes) {
  RUNNEL_TRY(auto head, parse_head_without_image(bytes));
  RUNNEL_TRY(head.image, unpack_image(head.stored, bytes));
  return head;
}

Result<Buffer> unpack_image(const StoredImage& image, Bytes head) {
  Buffer plain;
  plain.reserve(image.size);
  RUNNEL_DO(unpack_image(image, head, [&plain](Bytes piece) -> Result<void> {
    plain.insert(plain.end(), piece.begin(), piece.end());
    return {};
  }));
  return plain;
}

Result<void> unpack_image(const StoredImage& image, Bytes head,
                          const std::function<Result<void>(Bytes)>& consume) {
  RUNNEL_CHECK(image.offset <= head.size() && image.stored <= head.size() - image.offset);
  codec::Sha256 sum;
  RUNNEL_DO(codec::ZstdDecompressor().decompress(head.subspan(image.offset, image.stored),
                                                 image.size, [&](Bytes piece) {
                                                   sum.update(piece);
                                                   return consume(piece);
                                                 }));
  if (sum.finish() != image.digest) {
    return fail(Code::kInvalid, "boot head: the EROFS metadata does not match its digest");
  }
  return {};
}

}  // namespace runnel::artifact
