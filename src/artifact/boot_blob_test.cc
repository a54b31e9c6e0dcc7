#include "artifact/boot_blob.h"

#include <gtest/gtest.h>

namespace runnel::artifact {
namespace {

codec::Sha256Value digest_of(const std::string& text) {
  return codec::sha256(as_bytes(text));
}

LayerRecord record(const std::string& blob, uint64_t device_blocks) {
  return {.blob_digest = digest_of(blob),
          .blob_size = 1000 + 50 + 64 + kLayerFooterSize,
          .parts = {.tree_offset = 1000,
                    .tree_stored = 50,
                    .tree_size = 200,
                    .tree_digest = digest_of("tree"),
                    .table_offset = 1050,
                    .table_size = 64,
                    .table_digest = digest_of("table")},
          .device_blocks = device_blocks};
}

BootHead sample() {
  BootHead head;
  head.generation = 7;
  head.layers = {record("a", 3), record("b", 0), record("c", 9), record("a", 3)};
  assign_slots(head.layers);
  head.hot = {{.layer = 0, .chunk = 1}, {.layer = 2, .chunk = 0}};
  head.image = Buffer(8192, std::byte{5});
  return head;
}

TEST(BootHead, ReadsBackWhatWasWritten) {
  const auto head = sample();

  const auto read = parse_head(serialize_head(head));

  ASSERT_TRUE(read) << read.error().message;
  EXPECT_EQ(read->generation, 7u);
  EXPECT_EQ(read->layers, head.layers);
  EXPECT_EQ(read->hot, head.hot);
  EXPECT_EQ(read->image, head.image);
  EXPECT_EQ(read->tables_size(), 128u);
}

TEST(BootHead, LeavesTheImageWhereItStands) {
  const auto bytes = serialize_head(sample());

  const auto head = parse_head_without_image(bytes);

  ASSERT_TRUE(head) << head.error().message;
  EXPECT_TRUE(head->image.empty());
  EXPECT_EQ(head->layers, sample().layers);
  EXPECT_EQ(head->stored.size, 8192u);
  EXPECT_EQ(unpack_image(head->stored, bytes).value(), sample().image);
}

TEST(BootHead, RefusesAnImageOfAnotherDigest) {
  const auto bytes = serialize_head(sample());
  auto stored = parse_head_without_image(bytes)->stored;
  stored.digest = digest_of("another");

  const auto image = unpack_image(stored, bytes);

  ASSERT_FALSE(image);
  EXPECT_EQ(image.error().code, Code::kInvalid);
}

TEST(BootHead, GivesABlobThatOccursTwiceOneSlotAndOneTable) {
  const auto head = sample();

  EXPECT_EQ(head.layers[0].slot, 1);
  EXPECT_EQ(head.layers[1].slot, 0);
  EXPECT_EQ(head.layers[2].slot, 2);
  EXPECT_EQ(head.layers[3].slot, 1);
  EXPECT_EQ(records_with_tables(head.layers), (std::vector<size_t>{0, 2}));
}

TEST(BootHead, RefusesEveryTruncation) {
  const auto bytes = serialize_head(sample());
  for (size_t size = 0; size < bytes.size(); ++size) {
    EXPECT_FALSE(parse_head(Bytes(bytes).first(size))) << size;
  }
}

// The digest stands before the parser; alone it must never give a head that contradicts itself.
TEST(BootHead, RefusesAFlippedByteOrStaysConsistent) {
  const auto bytes = serialize_head(sample());
  for (size_t at = 0; at < bytes.size(); ++at) {
    auto flipped = bytes;
    flipped[at] ^= std::byte{0x41};
    const auto read = parse_head(flipped);
    if (!read) continue;
    EXPECT_EQ(read->image, sample().image) << at;
    auto slots = read->layers;
    assign_slots(slots);
    EXPECT_EQ(slots, read->layers) << at;
    EXPECT_EQ(read->layers[0], read->layers[3]) << at;
    for (const auto& hot : read->hot) EXPECT_NE(read->layers.at(hot.layer).slot, 0) << at;
  }
}

TEST(BootHead, RefusesSlotsOutOfOrder) {
  auto head = sample();
  std::swap(head.layers[0].slot, head.layers[2].slot);

  EXPECT_EQ(parse_head(serialize_head(head)).error().code, Code::kInvalid);
}

TEST(BootHead, RefusesTwoDifferentRecordsOfOneBlob) {
  auto head = sample();
  head.layers[3].device_blocks = 4;

  const auto read = parse_head(serialize_head(head));

  ASSERT_FALSE(read);
  EXPECT_NE(read.error().message.find("two records of one blob"), std::string::npos);
}

TEST(BootHead, RefusesARequiredFeatureAndAnotherVersionAsUnsupported) {
  for (const size_t at : {8, 16, 23}) {
    auto bytes = serialize_head(sample());
    bytes[at] ^= std::byte{0x80};
    EXPECT_EQ(parse_head(bytes).error().code, Code::kUnsupported) << at;
  }
}

TEST(BootHead, RefusesHotChunksOfLayersWithoutData) {
  for (const auto layer : std::initializer_list<uint16_t>{1, 4, 0xffff}) {
    auto head = sample();
    head.hot[0].layer = layer;
    EXPECT_EQ(parse_head(serialize_head(head)).error().code, Code::kInvalid) << layer;
  }
}

TEST(BootHead, RefusesPartsWhoseSumWraps) {
  auto head = sample();
  auto& layer = head.layers[1];
  layer.blob_size = UINT64_MAX;
  layer.parts.tree_stored = UINT64_MAX - 100;
  layer.parts.table_offset = layer.parts.tree_offset + layer.parts.tree_stored;
  layer.parts.table_size = layer.blob_size - kLayerFooterSize - layer.parts.table_offset;

  EXPECT_EQ(parse_head(serialize_head(head)).error().code, Code::kInvalid);
}

}  // namespace
}  // namespace runnel::artifact
