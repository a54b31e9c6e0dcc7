#include "cache/chunk_index.h"

#include <gtest/gtest.h>

#include <deque>

#include "base/worker_pool.h"
#include "cache/layer.h"
#include "support/fake_range_source.h"
#include "support/temp_dir.h"

namespace runnel::cache {
namespace {

using Digests = std::vector<codec::Sha256Value>;

constexpr uint32_t kMany = 100'000;

codec::Sha256Value digest_of(uint32_t number) {
  return codec::sha256(as_bytes(std::to_string(number)));
}

// Layers whose tables name what the test wants, and of which nothing is here.
class CacheChunkIndex : public testing::Test {
 protected:
  ~CacheChunkIndex() override { source_->shutdown(); }

  std::shared_ptr<Layer> layer(const Digests& digests) {
    artifact::ChunkTableWriter writer(artifact::kChunkSize);
    for (const auto& digest : digests) writer.add(1, 1, digest);
    const auto table = writer.finish();
    directories_.emplace_back();
    return Layer::open(directory_storage(directories_.back().path()),
                       artifact::ChunkTable::parse(table.bytes, table.digest).value(), source_,
                       {.verify = pool_,
                        .write = pool_,
                        .rescue = rescue_,
                        .clock = clock_,
                        .kept_bytes = kept_bytes_,
                        .budget = budget_})
        .value();
  }

 private:
  SystemClock clock_;
  Budget budget_{Limits{}};
  std::atomic<uint64_t> kept_bytes_ = 0;
  std::deque<test::TempDir> directories_;
  RescueQueue rescue_{0};
  WorkerPool pool_{1};
  std::shared_ptr<test::FakeRangeSource> source_ =
      std::make_shared<test::FakeRangeSource>(Buffer());
};

TEST_F(CacheChunkIndex, KeepsAFewOfManyEqualChunks) {
  ChunkIndex index;
  const auto equal = layer(Digests(kMany, digest_of(1)));

  index.add(equal);

  EXPECT_LE(index.stats().entries, 4u);
  EXPECT_LE(index.stats().steps, 5u * kMany);
}

TEST_F(CacheChunkIndex, IsNotSlowedDownByDigestsThatBeginAlike) {
  ChunkIndex index(ChunkIndex::kMaxChunks, {1, 2});
  Digests alike;
  for (uint32_t i = 0; i < kMany; ++i) {
    alike.push_back(digest_of(i));
    std::fill_n(alike.back().begin(), 8, std::byte{7});
  }
  const auto chosen = layer(alike);

  index.add(chosen);

  EXPECT_GE(index.stats().entries, kMany - 100);  // a few share a mark by chance
  EXPECT_LE(index.stats().steps, 5u * kMany);
}

TEST_F(CacheChunkIndex, MovesNothingWhenItIsFullAndEveryLayerIsThere) {
  ChunkIndex index(8);
  Digests digests;
  for (uint32_t i = 0; i < 8; ++i) digests.push_back(digest_of(i));
  auto first = layer(digests);
  const auto others = {layer(digests), layer(digests), layer(digests)};
  index.add(first);
  const auto before = index.stats();

  for (const auto& other : others) index.add(other);
  EXPECT_EQ(index.stats().rebuilds, before.rebuilds);
  EXPECT_EQ(index.stats().steps, before.steps);

  first.reset();
  index.add(*others.begin());
  EXPECT_EQ(index.stats().entries, 8u);
  EXPECT_EQ(index.stats().rebuilds, before.rebuilds + 1);
}

TEST_F(CacheChunkIndex, TakesInALayerForOneThatIsGone) {
  ChunkIndex index;
  Digests others;
  for (uint32_t i = 100; i < 200; ++i) others.push_back(digest_of(i));
  const auto large = layer(others);  // so that there is room for all that comes
  index.add(large);
  std::vector<std::shared_ptr<Layer>> layers;
  for (uint32_t i = 0; i < 4; ++i) layers.push_back(layer({digest_of(1), digest_of(10 + i)}));
  for (const auto& each : layers) index.add(each);
  const auto before = index.stats();
  layers.erase(layers.begin());

  const auto late = layer({digest_of(1)});
  index.add(late);

  EXPECT_EQ(index.stats().rebuilds, before.rebuilds);
  EXPECT_EQ(index.stats().entries, before.entries) << "in the place of the first's";
}

}  // namespace
}  // namespace runnel::cache
