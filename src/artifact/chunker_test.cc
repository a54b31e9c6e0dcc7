#include "artifact/chunker.h"

#include <gtest/gtest.h>

#include <algorithm>

#include "artifact/chunk_table.h"

namespace runnel::artifact {
namespace {

constexpr uint32_t kChunk = 128 * 1024;

class ChunkerTest : public testing::Test {
 protected:
  Result<void> collect(Buffer chunk) {
    sizes_.push_back(chunk.size());
    device_.insert(device_.end(), chunk.begin(), chunk.end());
    return {};
  }

  std::vector<erofs::Extent> file(uint64_t size, char fill) {
    const DataRange whole{0, size};
    EXPECT_TRUE(
        chunker_.begin_file(size, size > 0 ? std::span(&whole, 1) : std::span<DataRange>()));
    const Buffer bytes(size, static_cast<std::byte>(fill));
    EXPECT_TRUE(chunker_.write(0, bytes));
    return chunker_.end_file().value();
  }

  std::vector<size_t> sizes_;
  Buffer device_;
  Chunker chunker_{kChunk, [this](Buffer chunk) { return collect(std::move(chunk)); }};
};

TEST_F(ChunkerTest, PacksSmallNeighboursIntoOneChunk) {
  const auto first = file(5000, 'a');
  const auto second = file(1, 'b');

  ASSERT_TRUE(chunker_.finish());

  EXPECT_EQ(sizes_, std::vector<size_t>{3 * 4096});
  EXPECT_EQ(first, (std::vector<erofs::Extent>{{0, 0, 2, 0}}));
  EXPECT_EQ(second, (std::vector<erofs::Extent>{{0, 2, 1, 0}}));
  EXPECT_EQ(device_[4999], std::byte{'a'});
  EXPECT_EQ(device_[5000], std::byte{0});
  EXPECT_EQ(device_[2 * 4096], std::byte{'b'});
}

TEST_F(ChunkerTest, GivesALargeFileChunksOfItsOwn) {
  file(100, 'a');
  const auto large = file(200'000, 'b');
  file(100, 'c');

  ASSERT_TRUE(chunker_.finish());

  EXPECT_EQ(sizes_, (std::vector<size_t>{4096, kChunk, 200'704 - kChunk, 4096}));
  EXPECT_EQ(large, (std::vector<erofs::Extent>{{0, 1, 49, 0}}));
}

TEST_F(ChunkerTest, NeverSplitsASmallFile) {
  for (int i = 0; i < 5; ++i) file(28 * 1024, 'x');

  ASSERT_TRUE(chunker_.finish());

  EXPECT_EQ(sizes_, (std::vector<size_t>{4 * 28 * 1024, 28 * 1024}));
}

TEST_F(ChunkerTest, GivesAnEmptyFileNothing) {
  EXPECT_TRUE(file(0, 'x').empty());
  ASSERT_TRUE(chunker_.finish());
  EXPECT_TRUE(sizes_.empty());
}

TEST_F(ChunkerTest, LeavesHolesOffTheDeviceAndKeepsDataInItsPlace) {
  const uint64_t size = 64 * 4096;
  const std::vector<DataRange> data = {{100, 10}, {10 * 4096 + 1, 4096}};
  ASSERT_TRUE(chunker_.begin_file(size, data));
  ASSERT_TRUE(chunker_.write(100, Buffer(10, std::byte{'a'})));
  ASSERT_TRUE(chunker_.write(10 * 4096 + 1, Buffer(4096, std::byte{'b'})));

  const auto extents = chunker_.end_file().value();
  ASSERT_TRUE(chunker_.finish());

  EXPECT_EQ(extents, (std::vector<erofs::Extent>{{0, 0, 1, 0}, {10, 1, 2, 0}}));
  ASSERT_EQ(device_.size(), 3 * 4096u);
  EXPECT_EQ(device_[99], std::byte{0});
  EXPECT_EQ(device_[109], std::byte{'a'});
  EXPECT_EQ(device_[4096], std::byte{0});
  EXPECT_EQ(device_[4097], std::byte{'b'});
  EXPECT_EQ(device_[4096 + 4096], std::byte{'b'});
  EXPECT_EQ(device_[4096 + 4097], std::byte{0});
}

TEST_F(ChunkerTest, CutsAnEnormousSparseFileOnItsCoarseGrid) {
  const uint64_t size = uint64_t{5} << 30;
  const uint64_t unit = erofs::extent_unit_blocks(size);
  const DataRange last{size - 1, 1};
  ASSERT_TRUE(chunker_.begin_file(size, std::span(&last, 1)));
  ASSERT_TRUE(chunker_.write(size - 1, Buffer(1, std::byte{'z'})));

  const auto extents = chunker_.end_file().value();
  ASSERT_TRUE(chunker_.finish());

  ASSERT_EQ(extents.size(), 1u);
  EXPECT_EQ(extents[0].file_block % unit, 0u);
  EXPECT_EQ(extents[0].file_block + extents[0].blocks, size / 4096);
  EXPECT_EQ(device_.back(), std::byte{'z'});
  EXPECT_EQ(std::ranges::count(device_, std::byte{0}), device_.size() - 1);
  EXPECT_EQ(sizes_, (std::vector<size_t>{kMaxChunkSize - 4096, 4096}));
}

TEST_F(ChunkerTest, CutsTheZerosBehindDataInLargeChunks) {
  const uint64_t size = uint64_t{20} << 30;
  const uint64_t unit = erofs::extent_unit_blocks(size) * 4096;
  ASSERT_EQ(unit, 4u << 20);
  const std::vector<DataRange> data = {{0, 4096}, {10 * unit + 300'000, 10}};
  ASSERT_TRUE(chunker_.begin_file(size, data));
  ASSERT_TRUE(chunker_.write(0, Buffer(4096, std::byte{'a'})));
  ASSERT_TRUE(chunker_.write(10 * unit + 300'000, Buffer(10, std::byte{'b'})));

  ASSERT_TRUE(chunker_.end_file());
  ASSERT_TRUE(chunker_.finish());

  const size_t most = kMaxChunkSize;
  EXPECT_EQ(sizes_, (std::vector<size_t>{kChunk, most, most, most, most - kChunk,  //
                                         299'008, kChunk, most, most, most, 618'496}));
  ASSERT_EQ(device_.size(), 2 * unit);
  EXPECT_EQ(device_[4095], std::byte{'a'});
  EXPECT_EQ(device_[unit + 300'000], std::byte{'b'});
  EXPECT_EQ(std::ranges::count(device_, std::byte{0}), device_.size() - 4096 - 10);
}

}  // namespace
}  // namespace runnel::artifact
