#include <gtest/gtest.h>

#include <future>
#include <thread>

#include "support/open_layer.h"

namespace runnel::cache {
namespace {

using std::chrono::seconds;

class CacheExpectedChunks : public testing::Test {
 protected:
  std::future<Result<Buffer>> start_read(uint32_t chunk) { return open_.read(chunk); }
  Buffer expected(uint32_t chunk) const { return open_.expected(chunk); }
  Bytes frame(uint32_t chunk) const { return open_.frame(chunk); }

  test::OpenLayer open_;
  Clock& clock_ = open_.clock;
  Budget& budget_ = open_.budget;
  test::FakeRangeSource* const source_ = open_.source.get();
  Layer* const layer_ = open_.layer.get();
};

TEST_F(CacheExpectedChunks, AreWaitedForAndNotFetched) {
  ASSERT_EQ(layer_->expect({2, 3}).value(), (std::vector<uint32_t>{2, 3}));
  auto waiting = start_read(2);

  std::promise<Result<void>> inserted;
  const auto piece = frame(2);
  layer_->insert_later(2, Buffer(piece.begin(), piece.end()),
                       [&](Result<void> done) { inserted.set_value(std::move(done)); });

  EXPECT_EQ(waiting.get().value(), expected(2));
  EXPECT_TRUE(inserted.get_future().get());
  EXPECT_TRUE(source_->reads().empty());
  ASSERT_EQ(layer_->touches().size(), 1u);
  EXPECT_EQ(layer_->touches().front().wait, Wait::kJoined);
  EXPECT_EQ(layer_->touches().front().origin, Origin::kHotPack);
}

TEST(CacheHotPack, IsReadFromMemoryUntilItsWriteIsDue) {
  test::OpenLayer open(nullptr, {.longest = seconds(2), .most_bytes = uint64_t{1} << 30});
  ASSERT_TRUE(open.layer->insert(2, open.frame(2)));

  EXPECT_EQ(open.behind.waiting_bytes(), test::OpenLayer::kChunkBytes);
  EXPECT_EQ(open.read(2).get().value(), open.expected(2));
  EXPECT_TRUE(open.layer->sync()) << "has nothing to do with what is not written";
  EXPECT_EQ(open.layer->stats().bytes_present, 0u);
  EXPECT_EQ(open.layer->stats().bytes_in_memory, test::OpenLayer::kChunkBytes);

  open.behind.expire(open.clock.now() + seconds(2));
  while (!open.layer->holds(2)) {
    ASSERT_TRUE(open.layer->sync());
    std::this_thread::yield();
  }
  EXPECT_EQ(open.layer->stats().bytes_present, test::OpenLayer::kChunkBytes);
  EXPECT_EQ(open.layer->stats().bytes_in_memory, 0u);
  EXPECT_EQ(open.read(2).get().value(), open.expected(2));
  EXPECT_TRUE(open.source->reads().empty());
}

TEST_F(CacheExpectedChunks, AreASignThatTheLayerIsNotSilent) {
  const auto before = clock_.now();
  ASSERT_LT(layer_->signs().chunk, before);

  ASSERT_FALSE(layer_->insert(2, frame(3)));
  EXPECT_LT(layer_->signs().chunk, before) << "wrong bytes are none";

  ASSERT_TRUE(layer_->insert(2, frame(2)));
  EXPECT_GE(layer_->signs().chunk, before);
}

TEST_F(CacheExpectedChunks, AreFetchedWhenTheyComeNoMoreAndSomebodyWaits) {
  const auto chunks = layer_->expect({2, 3}).value();
  auto waiting = start_read(2);

  layer_->expect_no_more(chunks);

  EXPECT_EQ(waiting.get().value(), expected(2));
  EXPECT_EQ(source_->reads().size(), 1u) << "nobody waits for chunk 3";
  EXPECT_EQ(start_read(3).get().value(), expected(3));
}

TEST_F(CacheExpectedChunks, AreFetchedAtOnceWhenTheySeemBetterFetched) {
  auto waiting = start_read(2);
  EXPECT_EQ(waiting.get().value(), expected(2));
  const auto chunks = layer_->expect({2, 3, 4}).value();
  ASSERT_EQ(chunks, (std::vector<uint32_t>{3, 4}));
  auto third = start_read(3);

  layer_->fetch_expected(chunks);

  EXPECT_EQ(third.get().value(), expected(3));
  const auto reads = source_->reads();
  ASSERT_EQ(reads.size(), 3u) << "2 before, then what a reader waits for, then the rest";
  EXPECT_EQ(reads[1].priority, fetch::Priority::kDemand);
  EXPECT_EQ(reads[2].priority, fetch::Priority::kPrefetch);
  EXPECT_EQ(start_read(4).get().value(), expected(4));
}

TEST_F(CacheExpectedChunks, AreFetchedAsWellWhenAReaderHasWaitedForLong) {
  ASSERT_TRUE(layer_->expect({2}));
  auto waiting = start_read(2);

  layer_->expire(clock_.now() + Layer::kExpectedWithin / 2);
  EXPECT_TRUE(source_->reads().empty());
  layer_->expire(clock_.now() + Layer::kExpectedWithin);

  EXPECT_EQ(waiting.get().value(), expected(2));
  EXPECT_TRUE(layer_->insert(2, frame(2))) << "late, and of no harm";
}

TEST_F(CacheExpectedChunks, MayComeAlthoughTheyAreExpectedNoMore) {
  layer_->expect_no_more(layer_->expect({2}).value());

  ASSERT_TRUE(layer_->insert(2, frame(2)));

  EXPECT_EQ(start_read(2).get().value(), expected(2));
  EXPECT_TRUE(source_->reads().empty());
}

TEST_F(CacheExpectedChunks, AreNotThoseThatAreHereOrThatSomebodyIsAt) {
  ASSERT_TRUE(layer_->insert(1, frame(1)));
  ASSERT_TRUE(start_read(1).get());
  source_->hold();
  auto fetched = start_read(2);

  EXPECT_EQ(layer_->expect({1, 2, 4}).value(), std::vector<uint32_t>{4});
  EXPECT_TRUE(layer_->expect({4}).value().empty()) << "somebody else tells when they come no more";

  source_->release();
  EXPECT_TRUE(fetched.get());
}

TEST_F(CacheExpectedChunks, AreLeftOutByTheFill) {
  const auto chunks = layer_->expect({0, 1, 2, 3, 4, 5, 6}).value();

  layer_->fill(true);
  while (!layer_->stats().bytes_present) {
    ASSERT_TRUE(layer_->sync());
    std::this_thread::yield();
  }

  EXPECT_EQ(source_->reads().size(), 1u);
  layer_->expect_no_more(chunks);
}

TEST_F(CacheExpectedChunks, AreRefusedWhenTheDiskHasNoRoom) {
  budget_.measured(uint64_t{100} << 30, (uint64_t{512} << 20) + test::OpenLayer::kChunkBytes, 0);

  EXPECT_EQ(layer_->expect({1, 2}).error().code, Code::kExhausted);
  EXPECT_TRUE(layer_->expect({1}));
}

TEST_F(CacheExpectedChunks, EndAReadAtItsDeadlineAndNotLater) {
  source_->hold();
  ASSERT_TRUE(layer_->expect({2}));
  auto waiting = start_read(2);

  layer_->expire(clock_.now() + seconds(20));

  EXPECT_EQ(waiting.get().error().code, Code::kUnavailable);
  source_->release();
}

}  // namespace
}  // namespace runnel::cache
