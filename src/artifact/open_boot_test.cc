#include "artifact/open_boot.h"

#include <gtest/gtest.h>

namespace runnel::artifact {
namespace {

// A head of layers with tables of that size, which nobody has, and the manifest to it.
struct Sample {
  explicit Sample(const std::vector<uint64_t>& table_sizes) {
    BootHead head;
    head.image = Buffer(4096, std::byte{5});
    for (const uint64_t size : table_sizes) {
      LayerRecord record{.blob_digest = codec::sha256(as_bytes(fmt::to_string(head.layers.size()))),
                         .blob_size = size + kLayerFooterSize,
                         .parts = {.table_size = size},
                         .device_blocks = 1};
      head.layers.push_back(record);
      artifact.layers.push_back({.source = {},
                                 .diff_id = {},
                                 .blob = oci::Digest::from_sha256(record.blob_digest),
                                 .blob_size = record.blob_size,
                                 .table_digest = record.parts.table_digest});
    }
    assign_slots(head.layers);
    bytes = serialize_head(head);
    artifact.head = oci::Digest::of(bytes);
    artifact.head_size = bytes.size();
  }

  Artifact artifact;
  Buffer bytes;
};

TEST(OpenBoot, RefusesAHeadWhoseTablesDoNotFitBehindItInTheBootBlob) {
  Sample sample({5000, 7000});

  sample.artifact.boot_size = sample.bytes.size() + 12000;
  const auto fits = open_head(sample.artifact, sample.bytes);
  ASSERT_TRUE(fits) << fits.error().message;
  EXPECT_EQ(fits->tables_size(), 12000u);

  sample.artifact.boot_size -= 1;
  EXPECT_EQ(open_head(sample.artifact, sample.bytes).error().code, Code::kInvalid);
  sample.artifact.boot_size = 0;
  EXPECT_EQ(open_head(sample.artifact, sample.bytes).error().code, Code::kInvalid);
}

TEST(OpenBoot, RefusesMoreTablesThanTheFormatAllowsWhateverTheBootBlobsSize) {
  constexpr uint64_t kHalf = kMaxTablesSize / 2;
  Sample most({kHalf, kHalf});
  Sample more({kHalf, kHalf, 64});
  most.artifact.boot_size = more.artifact.boot_size = uint64_t{1} << 60;

  EXPECT_TRUE(open_head(most.artifact, most.bytes));
  EXPECT_EQ(open_head(more.artifact, more.bytes).error().code, Code::kInvalid);
}

}  // namespace
}  // namespace runnel::artifact
