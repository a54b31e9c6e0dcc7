#include "artifact/chunk_table.h"

#include <gtest/gtest.h>

namespace runnel::artifact {
namespace {

codec::Sha256Value digest_of(uint32_t number) {
  Buffer bytes(4);
  store_le(bytes.data(), number);
  return codec::sha256(bytes);
}

ChunkTableWriter::Written table_of(uint32_t chunks) {
  ChunkTableWriter writer(kChunkSize);
  for (uint32_t i = 0; i < chunks; ++i) writer.add(1 + i % 32, 100 + i, digest_of(i));
  return writer.finish();
}

TEST(ChunkTable, ReadsBackWhatWasWrittenOverSeveralPages) {
  const auto written = table_of(200);

  const auto table = ChunkTable::parse(written.bytes, written.digest);

  ASSERT_TRUE(table) << table.error().message;
  ASSERT_EQ(table->size(), 200u);
  uint64_t block = 0;
  uint64_t offset = 0;
  for (uint32_t i = 0; i < 200; ++i) {
    const Chunk chunk = table->at(i);
    EXPECT_EQ(chunk.device_block, block);
    EXPECT_EQ(chunk.blocks, 1 + i % 32);
    EXPECT_EQ(chunk.blob_offset, offset);
    EXPECT_EQ(chunk.stored_size, 100 + i);
    EXPECT_EQ(chunk.digest, digest_of(i));
    EXPECT_EQ(table->find(block), i);
    EXPECT_EQ(table->find(block + chunk.blocks - 1), i);
    block += chunk.blocks;
    offset += chunk.stored_size;
  }
  EXPECT_EQ(table->device_blocks(), block);
  EXPECT_EQ(table->frame_bytes(), offset);
}

TEST(ChunkTable, MayBeEmpty) {
  const auto written = table_of(0);

  const auto table = ChunkTable::parse(written.bytes, written.digest);

  ASSERT_TRUE(table);
  EXPECT_EQ(table->size(), 0u);
  EXPECT_EQ(table->device_size(), 0u);
}

TEST(ChunkTable, RefusesEveryFlippedByte) {
  const auto written = table_of(3);
  for (size_t i = 0; i < written.bytes.size(); ++i) {
    auto bytes = written.bytes;
    bytes[i] ^= std::byte{1};
    EXPECT_FALSE(ChunkTable::parse(bytes, written.digest)) << "byte " << i;
  }
}

TEST(ChunkTable, RefusesEveryTruncation) {
  const auto written = table_of(3);
  for (size_t size = 0; size < written.bytes.size(); size += 7) {
    const Buffer bytes(written.bytes.begin(), written.bytes.begin() + static_cast<long>(size));
    EXPECT_FALSE(ChunkTable::parse(bytes, written.digest)) << size << " bytes";
  }
}

// A table whose digests are right but whose entries break the rules.
TEST(ChunkTable, RefusesGapsOverlapsAndSizesOutOfBounds) {
  const auto written = table_of(2);
  const auto broken = [&](size_t at, uint32_t value) {
    auto bytes = written.bytes;
    const size_t page = bytes.size() - 4096;
    store_le(bytes.data() + page + at, value);
    const auto hash = codec::sha256(Bytes(bytes).subspan(page));
    std::copy(hash.begin(), hash.end(), bytes.begin() + 64);
    return ChunkTable::parse(bytes, codec::sha256(Bytes(bytes).first(page)));
  };

  EXPECT_TRUE(broken(8, 100));        // as it was
  EXPECT_FALSE(broken(8, 99));        // first stored size: a gap in the blob
  EXPECT_FALSE(broken(8, 0));         // nothing stored
  EXPECT_FALSE(broken(12, 1));        // first chunk does not start at block 0
  EXPECT_FALSE(broken(48 + 12, 0));   // second chunk starts where the first does
  EXPECT_FALSE(broken(48 + 12, 33));  // first chunk is larger than chunk_max
  EXPECT_FALSE(broken(48 + 12, 3));   // second chunk reaches past the device
}

}  // namespace
}  // namespace runnel::artifact
