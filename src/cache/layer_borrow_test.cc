#include <fcntl.h>
#include <gtest/gtest.h>

#include <deque>
#include <optional>

#include "base/fd.h"
#include "support/open_layer.h"

namespace runnel::cache {
namespace {

using std::chrono::seconds;

// Two layers of the same content, each with a directory and a source of its own.
class CacheBorrowedChunks : public testing::Test {
 protected:
  static void damage(const test::OpenLayer& layer, uint32_t chunk) {
    const auto fd = open_file(layer.layer->device_path(), O_WRONLY).value();
    ASSERT_TRUE(write_all_at(fd.get(), as_bytes("damage"), chunk * test::OpenLayer::kChunkBytes));
  }

  ChunkIndex index_;
  std::optional<test::OpenLayer> lender_{std::in_place, &index_};
  test::OpenLayer taker_{&index_};
};

TEST_F(CacheBorrowedChunks, AreNotFetched) {
  lender_->complete();

  EXPECT_EQ(taker_.read(2).get().value(), taker_.expected(2));

  EXPECT_TRUE(taker_.source->reads().empty());
  const auto stats = taker_.layer->stats();
  EXPECT_EQ(stats.bytes_borrowed, test::OpenLayer::kChunkBytes);
  EXPECT_EQ(stats.bytes_fetched, 0u);
  ASSERT_EQ(taker_.layer->touches().size(), 1u);
  EXPECT_EQ(taker_.layer->touches().front().origin, Origin::kNode);
}

TEST_F(CacheBorrowedChunks, FillALayer) {
  lender_->complete();

  taker_.complete();

  EXPECT_TRUE(taker_.source->reads().empty());
  EXPECT_EQ(taker_.layer->stats().bytes_borrowed, taker_.layer->size());
  lender_.reset();
  EXPECT_EQ(taker_.read(7).get().value(), taker_.expected(7)) << "they are its own now";
}

TEST_F(CacheBorrowedChunks, AreOnlyDurableOnes) {
  lender_->source->hold();
  auto waits = lender_->read(2);

  EXPECT_EQ(taker_.read(2).get().value(), taker_.expected(2));

  EXPECT_EQ(taker_.source->reads().size(), 1u);
  lender_->source->release();
  EXPECT_TRUE(waits.get());
}

TEST_F(CacheBorrowedChunks, AreFetchedWhenTheyAreNotWhatTheyWere) {
  lender_->complete();
  damage(*lender_, 2);

  EXPECT_EQ(taker_.read(2).get().value(), taker_.expected(2));
  EXPECT_EQ(taker_.read(3).get().value(), taker_.expected(3));

  EXPECT_EQ(taker_.source->reads().size(), 1u);
  EXPECT_EQ(taker_.layer->stats().bytes_borrowed, test::OpenLayer::kChunkBytes);
}

TEST_F(CacheBorrowedChunks, AreFetchedWhenTheirLayerIsGone) {
  lender_->complete();
  lender_.reset();

  EXPECT_EQ(taker_.read(2).get().value(), taker_.expected(2));

  EXPECT_EQ(taker_.source->reads().size(), 1u);
}

TEST_F(CacheBorrowedChunks, AreFetchedWhenTheirLayerWasDeletedAndSomebodyStillReadsIt) {
  lender_->complete();
  lender_->layer->lend_no_more();

  EXPECT_EQ(taker_.read(2).get().value(), taker_.expected(2));
  EXPECT_EQ(lender_->read(2).get().value(), lender_->expected(2));

  EXPECT_EQ(taker_.source->reads().size(), 1u);
  EXPECT_EQ(taker_.layer->stats().bytes_borrowed, 0u);
}

TEST_F(CacheBorrowedChunks, NeedNotComeWithAHotPack) {
  lender_->complete();

  EXPECT_TRUE(taker_.layer->expect({2, 3})->empty());

  EXPECT_EQ(taker_.read(3).get().value(), taker_.expected(3));
  EXPECT_EQ(taker_.read(2).get().value(), taker_.expected(2));
  EXPECT_TRUE(taker_.source->reads().empty());
}

TEST_F(CacheBorrowedChunks, AreFetchedBesideWhatNobodyHas) {
  auto first = lender_->read(2);
  ASSERT_TRUE(first.get());
  while (!lender_->layer->holds(2)) ASSERT_TRUE(lender_->layer->sync());
  const auto from = test::OpenLayer::kChunkBytes + 5;
  const auto length = 2 * test::OpenLayer::kChunkBytes;  // ends in chunk 3
  std::promise<Result<Buffer>> read;

  taker_.layer->read(from, length, fetch::Priority::kDemand, taker_.clock.now() + seconds(20),
                     [&](Result<Buffer> bytes) { read.set_value(std::move(bytes)); });

  const auto expected = Bytes(taker_.sample.device).subspan(from, length);
  EXPECT_TRUE(std::ranges::equal(read.get_future().get().value(), expected));
  EXPECT_EQ(taker_.source->reads().size(), 2u) << "chunks 1 and 3";
}

TEST_F(CacheBorrowedChunks, AreFoundAmongMoreEqualOnesThanTheIndexKeeps) {
  ChunkIndex index;
  std::deque<test::OpenLayer> layers;
  for (int i = 0; i < 6; ++i) layers.emplace_back(&index);
  EXPECT_EQ(index.stats().entries, 4 * test::OpenLayer::kChunks);
  const auto digest = taker_.layer->table().at(5).digest;
  EXPECT_FALSE(index.find(digest));

  layers.front().complete();

  ASSERT_TRUE(index.find(digest));
  EXPECT_EQ(index.find(digest)->layer, layers.front().layer);
}

TEST_F(CacheBorrowedChunks, AreKnownUpToABound) {
  ChunkIndex small(test::OpenLayer::kChunks);
  test::OpenLayer first(&small);
  test::OpenLayer second(&small);
  second.complete();

  EXPECT_FALSE(small.find(second.layer->table().at(0).digest)) << "there was no room for it";

  first.complete();
  const auto found = small.find(first.layer->table().at(0).digest);
  ASSERT_TRUE(found);
  EXPECT_EQ(found->layer, first.layer);
}

TEST_F(CacheBorrowedChunks, OfALayerThatIsGoneLeaveTheirRoom) {
  ChunkIndex small(test::OpenLayer::kChunks);
  {
    const test::OpenLayer gone(&small);
  }
  test::OpenLayer next(&small);
  next.complete();

  EXPECT_TRUE(small.find(next.layer->table().at(5).digest));
}

}  // namespace
}  // namespace runnel::cache
