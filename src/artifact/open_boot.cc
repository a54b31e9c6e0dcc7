#include "artifact/open_boot.h"

#include <algorithm>

#include "erofs/validator.h"

namespace runnel::artifact {

namespace {

Result<void> check_layers(const Artifact& artifact, const BootHead& head) {
  if (head.layers.size() != artifact.layers.size()) {
    return fail(Code::kInvalid, "boot blob: {} layers, the manifest has {}", head.layers.size(),
                artifact.layers.size());
  }
  for (size_t i = 0; i < head.layers.size(); ++i) {
    const auto& record = head.layers[i];
    const auto& layer = artifact.layers[i];
    if (oci::Digest::from_sha256(record.blob_digest) != layer.blob ||
        record.blob_size != layer.blob_size || record.parts.table_digest != layer.table_digest) {
      return fail(Code::kInvalid, "boot blob: layer {} is not the manifest's", i);
    }
  }
  return {};
}

// Before anybody waits for them, or makes room for them in memory.
Result<void> check_tables_size(const Artifact& artifact, const BootHead& head) {
  const uint64_t size = head.tables_size();
  if (artifact.head_size > artifact.boot_size ||
      size > std::min(artifact.boot_size - artifact.head_size, kMaxTablesSize)) {
    return fail(Code::kInvalid,
                "boot blob: {} bytes of tables behind a head of {} in {}, at most {} are read",
                size, artifact.head_size, artifact.boot_size, kMaxTablesSize);
  }
  return {};
}

}  // namespace

Result<void> check_image(const Boot& boot, Bytes image, const std::function<void()>& rest) {
  RUNNEL_TRY(const auto summary, erofs::validate(image, {}, rest));
  if (summary.devices.size() != boot.tables.size()) {
    return fail(Code::kInvalid, "boot blob: metadata with {} devices for {} layers with data",
                summary.devices.size(), boot.tables.size());
  }
  for (size_t slot = 0; slot < boot.tables.size(); ++slot) {
    if (summary.devices[slot].blocks != boot.tables[slot].device_blocks()) {
      return fail(Code::kInvalid,
                  "boot blob: device {} has {} blocks in the metadata, {} in its table", slot + 1,
                  summary.devices[slot].blocks, boot.tables[slot].device_blocks());
    }
  }
  return {};
}

const LayerRecord& Boot::record_of(uint16_t slot) const {
  const auto found = std::ranges::find(head.layers, slot, &LayerRecord::slot);
  RUNNEL_CHECK(slot != 0 && found != head.layers.end());
  return *found;
}

Result<Boot> open_boot(const Artifact& artifact, Bytes bytes) {
  if (bytes.size() < artifact.head_size) {
    return fail(Code::kInvalid, "boot blob: {} bytes, its head alone has {}", bytes.size(),
                artifact.head_size);
  }
  const Bytes head_bytes = bytes.first(artifact.head_size);
  RUNNEL_TRY(auto head, open_head(artifact, head_bytes));
  RUNNEL_TRY(auto boot,
             open_tables(artifact, std::move(head), bytes.subspan(head_bytes.size()), nullptr));
  RUNNEL_TRY(boot.head.image, unpack_image(boot.head.stored, head_bytes));
  RUNNEL_DO(check_image(boot, boot.head.image));
  return boot;
}

Result<BootHead> open_head(const Artifact& artifact, Bytes bytes) {
  if (oci::Digest::of(bytes) != artifact.head) {
    return fail(Code::kInvalid, "boot blob: its head does not match the manifest's digest");
  }
  RUNNEL_TRY(auto head, parse_head_without_image(bytes));
  if (head.generation != artifact.generation) {
    return fail(Code::kInvalid, "boot blob: generation {}, the manifest says {}", head.generation,
                artifact.generation);
  }
  RUNNEL_DO(check_layers(artifact, head));
  RUNNEL_DO(check_tables_size(artifact, head));
  return head;
}

Result<Boot> open_tables(const Artifact& artifact, BootHead head, Bytes tables,
                         std::shared_ptr<const void> owner) {
  Boot boot;
  boot.head = std::move(head);
  ByteReader reader(tables, "boot blob tables");
  for (const size_t i : records_with_tables(boot.head.layers)) {
    const auto& record = boot.head.layers[i];
    RUNNEL_TRY(const Bytes table_bytes, reader.bytes(record.parts.table_size));
    RUNNEL_TRY(auto table, owner ? ChunkTable::parse(table_bytes, owner, record.parts.table_digest)
                                 : ChunkTable::parse(Buffer(table_bytes.begin(), table_bytes.end()),
                                                     record.parts.table_digest));
    if (table.device_blocks() != record.device_blocks ||
        table.frame_bytes() != record.parts.tree_offset) {
      return fail(Code::kInvalid, "boot blob: the table of layer {} is of another blob", i);
    }
    boot.tables.push_back(std::move(table));
  }
  boot.hot_offset = artifact.head_size + reader.offset();
  for (const auto& hot : boot.head.hot) {
    if (hot.chunk >= boot.tables[boot.head.layers[hot.layer].slot - 1].size()) {
      return fail(Code::kInvalid, "boot blob: hot chunk {} of layer {} does not exist", hot.chunk,
                  hot.layer);
    }
  }
  return boot;
}

}  // namespace runnel::artifact
