#include "convert/boot_builder.h"

#include <sys/stat.h>

#include <algorithm>
#include <set>
#include <string_view>

#include "artifact/artifact.h"
#include "artifact/chunk_table.h"
#include "artifact/merge.h"
#include "convert/file_places.h"
#include "convert/layer_contents.h"
#include "erofs/writer.h"
#include "startup/startup.h"

namespace runnel::convert {

namespace {

using artifact::BootHead;
using artifact::ChunkTable;
using artifact::HotEntry;

// Of content that is looked at to make a guess.
constexpr uint64_t kMaxGuessReads = 256 << 20;

Result<Buffer> read_table(const LayerFile& layer) {
  Buffer bytes(layer.blob.parts.table_size);
  RUNNEL_DO(read_exact_at(layer.file->get(), bytes, layer.blob.parts.table_offset));
  return bytes;
}

// The regular file at an absolute path of the merged tree, without following links; or null.
const erofs::Inode* file_at(const erofs::Tree& tree, std::string_view path) {
  const erofs::Inode* inode = &tree.inodes[0];
  while (!path.empty()) {
    const auto part = path.substr(0, path.find('/'));
    path.remove_prefix(std::min(path.size(), part.size() + 1));
    if (part.empty()) continue;
    const auto entry = std::ranges::lower_bound(
        inode->entries, part, {}, [](const auto& each) { return std::string_view(each.name); });
    if (entry == inode->entries.end() || entry->name != part) return nullptr;
    inode = &tree.inodes[entry->inode];
  }
  return S_ISREG(inode->mode) ? inode : nullptr;
}

// The tables of the layers that have data, by slot (from 1 up: tables[slot - 1]).
Result<std::vector<ChunkTable>> open_tables(const std::vector<const LayerFile*>& layers,
                                            const std::vector<size_t>& with_tables) {
  std::vector<ChunkTable> tables;
  for (const size_t i : with_tables) {
    RUNNEL_TRY(Buffer bytes, read_table(*layers[i]));
    RUNNEL_TRY(auto table, ChunkTable::parse(std::move(bytes), layers[i]->blob.parts.table_digest));
    tables.push_back(std::move(table));
  }
  return tables;
}

// Each chunk once, in the order in which it was added.
class HotEntries {
 public:
  bool add(HotEntry entry) {
    const bool fresh = seen_.emplace(entry.layer, entry.chunk).second;
    if (fresh) entries_.push_back(entry);
    return fresh;
  }
  std::vector<HotEntry> take() { return std::move(entries_); }

 private:
  std::vector<HotEntry> entries_;
  std::set<std::pair<uint16_t, uint32_t>> seen_;
};

// The chunks that hold a part of a file.
template <class Each>
void for_each_chunk(const erofs::Inode& file, uint64_t offset, uint64_t size,
                    const std::vector<ChunkTable>& tables, Each&& each) {
  const uint64_t first = offset / erofs::kBlockSize;
  const uint64_t end = div_up(offset + size, erofs::kBlockSize);
  for (const auto& extent : file.extents) {
    const uint64_t from = std::max(first, extent.file_block);
    const uint64_t to = std::min(end, extent.file_block + extent.blocks);
    if (from >= to) continue;
    const auto& table = tables[extent.device - 1];
    const uint32_t last = table.find(extent.device_block + (to - 1 - extent.file_block));
    uint32_t chunk = table.find(extent.device_block + (from - extent.file_block));
    for (; chunk <= last; ++chunk) each(extent.device, chunk);
  }
}

void add_files(HotEntries& entries, const erofs::Tree& tree, const std::vector<ChunkTable>& tables,
               const std::vector<size_t>& with_tables, const std::vector<std::string>& files) {
  for (const auto& path : files) {
    const auto* file = file_at(tree, path);
    if (file == nullptr) continue;
    for_each_chunk(*file, 0, file->size, tables, [&](uint16_t slot, uint32_t chunk) {
      entries.add({.layer = static_cast<uint16_t>(with_tables[slot - 1]), .chunk = chunk});
    });
  }
}

uint64_t room_for(const std::vector<ChunkTable>& tables) {
  uint64_t room = 0;
  for (const auto& table : tables) room += table.frame_bytes() / 4;
  return std::min(room, kMaxHotBytes);
}

// What the profile says of this image's layers, until there is no more room. False when it says
// nothing of them.
bool add_profile(HotEntries& entries, const std::vector<ChunkTable>& tables,
                 const std::vector<size_t>& with_tables,
                 const std::vector<artifact::LayerRecord>& records,
                 const artifact::Profile& profile, uint64_t& room) {
  bool fits = false;
  std::vector<const ChunkTable*> table_of(profile.layers.size(), nullptr);
  std::vector<uint16_t> record_of(profile.layers.size(), 0);
  for (size_t i = 0; i < profile.layers.size(); ++i) {
    for (size_t slot = 0; slot < tables.size(); ++slot) {
      const auto& digest = records[with_tables[slot]].blob_digest;
      if (oci::Digest::from_sha256(digest) != profile.layers[i]) continue;
      table_of[i] = &tables[slot];
      record_of[i] = static_cast<uint16_t>(with_tables[slot]);
    }
  }
  for (const auto& [layer, chunk] : profile.chunks) {
    const auto* table = table_of[layer];
    if (table == nullptr || chunk >= table->size()) continue;
    fits = true;
    const uint64_t bytes = table->at(chunk).stored_size;
    if (bytes > room) break;
    if (entries.add({.layer = record_of[layer], .chunk = chunk})) room -= bytes;
  }
  return fits;
}

// What starts of an earlier version read, as far as this one has it. False when it has nothing of
// it.
bool add_earlier(HotEntries& entries, const erofs::Tree& tree,
                 const std::vector<ChunkTable>& tables, const std::vector<size_t>& with_tables,
                 const std::vector<HotRange>& earlier) {
  uint64_t room = room_for(tables);
  bool fits = false;
  for (const auto& range : earlier) {
    const auto* file = file_at(tree, range.path);
    if (file == nullptr || range.offset >= file->size) continue;
    fits = true;
    const auto size = std::min(range.size, file->size - range.offset);
    for_each_chunk(*file, range.offset, size, tables, [&](uint16_t slot, uint32_t chunk) {
      const uint64_t bytes = tables[slot - 1].at(chunk).stored_size;
      if (bytes > room) return;
      const auto layer = static_cast<uint16_t>(with_tables[slot - 1]);
      if (entries.add({.layer = layer, .chunk = chunk})) room -= bytes;
    });
  }
  return fits;
}

// What starting the image will probably read, until there is no more room.
Result<void> add_guess(HotEntries& entries, const erofs::Tree& tree,
                       const std::vector<const LayerFile*>& layers,
                       const std::vector<ChunkTable>& tables,
                       const std::vector<size_t>& with_tables, const oci::Process& process,
                       uint64_t& room) {
  std::vector<SlotContent> slots;
  slots.reserve(tables.size());
  for (size_t slot = 0; slot < tables.size(); ++slot)
    slots.push_back({.blob = layers[with_tables[slot]]->file.get(), .table = &tables[slot]});
  LayerContents contents(tree, std::move(slots));
  startup::ImageFiles files(
      tree,
      [&](uint32_t inode, uint64_t offset, uint64_t size) {
        return contents.read(inode, offset, size);
      },
      kMaxGuessReads);
  RUNNEL_TRY(const auto ranges, startup::guess(process, files));
  for (const auto& range : ranges) {
    const auto add = [&](uint16_t slot, uint32_t chunk) {
      const uint64_t bytes = tables[slot - 1].at(chunk).stored_size;
      if (bytes > room) return;
      const auto layer = static_cast<uint16_t>(with_tables[slot - 1]);
      if (entries.add({.layer = layer, .chunk = chunk})) room -= bytes;
    };
    for_each_chunk(tree.inodes[range.inode], range.offset, range.size, tables, add);
  }
  return {};
}

std::vector<artifact::LayerRecord> records_of(const std::vector<const LayerFile*>& layers) {
  std::vector<artifact::LayerRecord> records;
  records.reserve(layers.size());
  for (const auto* layer : layers)
    records.push_back({.blob_digest = layer->blob.digest,
                       .blob_size = layer->blob.size,
                       .parts = layer->blob.parts,
                       .device_blocks = layer->blob.device_blocks});
  artifact::assign_slots(records);
  return records;
}

Result<erofs::Tree> merged(std::vector<artifact::LayerTree> trees,
                           const std::vector<artifact::LayerRecord>& records) {
  std::vector<artifact::MergeLayer> parts;
  parts.reserve(trees.size());
  for (size_t i = 0; i < trees.size(); ++i)
    parts.push_back({.tree = std::move(trees[i]), .slot = records[i].slot});
  return artifact::merge(std::move(parts));
}

// Tables and hot pack behind a head. The room for all of it is made once, and frames are read to
// where they belong: a hot pack has tens of megabytes.
Result<void> append_rest(Buffer& out, const std::vector<HotEntry>& hot,
                         const std::vector<const LayerFile*>& layers,
                         const std::vector<ChunkTable>& tables,
                         const std::vector<artifact::LayerRecord>& records) {
  const auto chunk_of = [&](const HotEntry& entry) {
    return tables[records[entry.layer].slot - 1].at(entry.chunk);
  };
  uint64_t size = out.size();
  for (const auto& table : tables) size += table.bytes().size();
  for (const auto& entry : hot) size += chunk_of(entry).stored_size;
  out.reserve(size);
  for (const auto& table : tables)
    out.insert(out.end(), table.bytes().begin(), table.bytes().end());
  for (const auto& entry : hot) {
    const auto chunk = chunk_of(entry);
    const auto at = out.size();
    out.resize(at + chunk.stored_size);
    RUNNEL_DO(read_exact_at(layers[entry.layer]->file->get(), MutableBytes(out).subspan(at),
                            chunk.blob_offset));
  }
  return {};
}

}  // namespace

Result<BootBlob> build_boot_blob(const std::vector<const LayerFile*>& layers,
                                 std::vector<artifact::LayerTree> trees, const BootPlan& plan) {
  if (layers.size() > artifact::kMaxLayers) {
    return fail(Code::kUnsupported, "an image of {} layers, at most {} can be streamed",
                layers.size(), artifact::kMaxLayers);
  }
  BootHead head;
  head.generation = plan.generation;
  head.layers = records_of(layers);
  if (head.tables_size() > artifact::kMaxTablesSize) {
    return fail(Code::kExhausted, "chunk tables of {} bytes, at most {} can be streamed",
                head.tables_size(), artifact::kMaxTablesSize);
  }
  const auto with_tables = artifact::records_with_tables(head.layers);
  RUNNEL_TRY(const auto tables, open_tables(layers, with_tables));
  RUNNEL_TRY(erofs::Tree tree, merged(std::move(trees), head.layers));
  for (const size_t i : with_tables) {
    tree.devices.push_back(
        {.blocks = head.layers[i].device_blocks, .tag = to_hex(head.layers[i].blob_digest)});
  }
  RUNNEL_TRY(head.image, erofs::write_image(tree));
  if (head.image.size() > artifact::kMaxImageSize) {
    return fail(Code::kExhausted, "metadata of {} bytes, at most {} can be streamed",
                head.image.size(), artifact::kMaxImageSize);
  }
  HotEntries hot;
  add_files(hot, tree, tables, with_tables, plan.files);
  auto made_of = artifact::kHotRecorded;
  uint64_t room = room_for(tables);
  if (!add_profile(hot, tables, with_tables, head.layers, plan.profile, room)) {
    made_of = artifact::kHotSeeded;
    if (!add_earlier(hot, tree, tables, with_tables, plan.earlier)) {
      if (!add_profile(hot, tables, with_tables, head.layers, plan.shared, room))
        made_of = artifact::kHotGuessed;
      RUNNEL_DO(add_guess(hot, tree, layers, tables, with_tables, plan.process, room));
    }
  }
  head.hot = hot.take();
  tree = {};  // compressing its image takes as much memory again

  BootBlob boot{.bytes = artifact::serialize_head(head), .head_size = 0, .hot = made_of};
  head.image = {};
  boot.head_size = boot.bytes.size();
  RUNNEL_DO(append_rest(boot.bytes, head.hot, layers, tables, head.layers));
  return boot;
}

Result<std::vector<HotRange>> hot_ranges(const std::vector<const LayerFile*>& layers,
                                         std::vector<artifact::LayerTree> trees,
                                         const artifact::Profile& profile) {
  const auto records = records_of(layers);
  const auto with_tables = artifact::records_with_tables(records);
  RUNNEL_TRY(const auto tables, open_tables(layers, with_tables));
  RUNNEL_TRY(const auto tree, merged(std::move(trees), records));
  // By the profile's layers; 0 is no slot.
  std::vector<uint16_t> slots(profile.layers.size(), 0);
  for (size_t i = 0; i < profile.layers.size(); ++i)
    for (const auto& record : records)
      if (oci::Digest::from_sha256(record.blob_digest) == profile.layers[i]) slots[i] = record.slot;
  FilePlaces places(tree);
  for (const auto& [layer, chunk] : profile.chunks) {
    const auto slot = slots[layer];
    if (slot == 0 || chunk >= tables[slot - 1].size()) continue;
    const auto at = tables[slot - 1].at(chunk);
    places.want(slot, at.device_block, at.blocks);
  }
  return places.found();
}

}  // namespace runnel::convert
