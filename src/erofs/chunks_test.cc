#include "erofs/chunks.h"

#include <gtest/gtest.h>

#include "erofs/sample_trees.h"

namespace runnel::erofs {
namespace {

using test::file;

const std::vector<Device> kDevices = {{10'000, ""}, {kMaxDeviceBlocks, ""}};
constexpr uint64_t kTiB = uint64_t{1} << 40;

ChunkPlan plan_of(const Inode& inode) {
  auto plan = plan_chunks(inode, kDevices);
  EXPECT_TRUE(plan) << plan.error().message;
  return plan.value_or(ChunkPlan{});
}

Code refusal_of(const Inode& inode) {
  const auto plan = plan_chunks(inode, kDevices);
  return plan ? Code::kExists : plan.error().code;
}

TEST(Chunks, OneHoldsAContiguousFile) {
  const ChunkPlan plan = plan_of(file(100 * kBlockSize - 7, {{0, 3, 100, 1}}));

  EXPECT_EQ(plan.count, 1u);
  EXPECT_EQ(plan.bits, 7u);
}

TEST(Chunks, OneHoldsAContiguousFileThatIsSaidInPieces) {
  EXPECT_EQ(plan_of(file(9 * kBlockSize, {{0, 3, 1, 1}, {1, 4, 5, 1}, {6, 9, 3, 1}})).count, 1u);
}

TEST(Chunks, OneHoldsAnEmptyOrWhollyHollowFile) {
  EXPECT_EQ(plan_of(file(0)).count, 0u);
  EXPECT_EQ(plan_of(file(100 * kBlockSize)).count, 1u);
}

TEST(Chunks, AreAsLargeAsTheHolesAllow) {
  const Inode sparse = file(64 * kBlockSize, {{8, 0, 8, 1}, {48, 100, 16, 1}});

  const ChunkPlan plan = plan_of(sparse);

  EXPECT_EQ(plan.bits, 3u);
  EXPECT_EQ(plan.count, 8u);
  size_t next = 0;
  EXPECT_FALSE(chunk_address(sparse, plan, 0, next));
  EXPECT_EQ(chunk_address(sparse, plan, 1, next)->block, 0u);
  EXPECT_FALSE(chunk_address(sparse, plan, 2, next));
  EXPECT_FALSE(chunk_address(sparse, plan, 5, next));
  EXPECT_EQ(chunk_address(sparse, plan, 6, next)->block, 100u);
  EXPECT_EQ(chunk_address(sparse, plan, 7, next)->block, 108u);
}

TEST(Chunks, LargerThanTheFormatsLargestAreSeveral) {
  const ChunkPlan plan = plan_of(file(12 * kTiB, {{0, 5, 12 * kTiB / kBlockSize, 2}}));

  EXPECT_EQ(plan.bits, 31u);
  EXPECT_EQ(plan.count, 2u);
}

TEST(Chunks, AreNeverMoreThanTheLimit) {
  const uint64_t unit = extent_unit_blocks(kTiB);
  EXPECT_EQ(unit * kBlockSize, uint64_t{128} << 20);

  const ChunkPlan plan = plan_of(file(kTiB, {{unit, 0, unit, 2}, {17 * unit, unit, unit, 2}}));

  EXPECT_EQ(plan.count, kMaxChunkIndexes);
  EXPECT_EQ(plan_of(file(kMaxFileSize)).count, kMaxChunkIndexes);
}

TEST(Chunks, RefuseExtentsOffTheGrid) {
  const uint64_t unit = extent_unit_blocks(kTiB);

  EXPECT_EQ(refusal_of(file(kTiB, {{unit / 2, 0, unit, 2}})), Code::kInvalid);
  EXPECT_EQ(refusal_of(file(kTiB, {{unit, 0, unit / 2, 2}})), Code::kInvalid);
  EXPECT_EQ(refusal_of(file(kTiB, {{0, 0, 1, 2}})), Code::kInvalid);
}

TEST(Chunks, TakeAnExtentThatEndsWithTheFileOrIsPaddedToTheGrid) {
  const uint64_t size = kTiB + 1;
  const uint64_t unit = extent_unit_blocks(size);
  const uint64_t last = kTiB / kBlockSize;

  EXPECT_EQ(refusal_of(file(size, {{last, 0, 1, 2}})), Code::kExists);
  EXPECT_EQ(refusal_of(file(size, {{last, 0, unit, 2}})), Code::kExists);
  EXPECT_EQ(refusal_of(file(size, {{last, 0, unit + 1, 2}})), Code::kInvalid);
}

TEST(Chunks, RefuseExtentsThatOverlapOrLeaveTheirDevice) {
  EXPECT_EQ(refusal_of(file(0, {{0, 0, 1, 1}})), Code::kInvalid);
  EXPECT_EQ(refusal_of(file(9 * kBlockSize, {{0, 0, 0, 1}})), Code::kInvalid);
  EXPECT_EQ(refusal_of(file(9 * kBlockSize, {{0, 0, 2, 1}, {1, 5, 2, 1}})), Code::kInvalid);
  EXPECT_EQ(refusal_of(file(9 * kBlockSize, {{5, 0, 1, 1}, {1, 5, 1, 1}})), Code::kInvalid);
  EXPECT_EQ(refusal_of(file(9 * kBlockSize, {{0, 0, 9, 0}})), Code::kInvalid);
  EXPECT_EQ(refusal_of(file(9 * kBlockSize, {{0, 0, 9, 3}})), Code::kInvalid);
  EXPECT_EQ(refusal_of(file(9 * kBlockSize, {{0, 9'995, 9, 1}})), Code::kInvalid);
  EXPECT_EQ(refusal_of(file(9 * kBlockSize, {{0, ~uint64_t{0}, 9, 1}})), Code::kInvalid);
  EXPECT_EQ(refusal_of(file(9 * kBlockSize, {{0, 0, ~uint64_t{0}, 1}})), Code::kInvalid);
}

}  // namespace
}  // namespace runnel::erofs
