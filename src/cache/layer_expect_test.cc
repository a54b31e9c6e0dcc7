#include <gtest/gtest.h>

#include <future>

#include "cache/layer.h"
#include "support/fake_range_source.h"
#include "support/sample_layer.h"
#include "support/temp_dir.h"

namespace runnel::cache {
namespace {

using fetch::Priority;
using std::chrono::seconds;

constexpr uint64_t kChunkBytes = 32 * artifact::kBlockSize;

class CacheExpectedChunks : public testing::Test {
 protected:
  CacheExpectedChunks() {
    layer_ = Layer::open(directory_storage(directory_.path()), sample_.parse_table(), source_,
                         {.verify = verify_,
                          .write = write_,
                          .rescue = rescue_,
                          .clock = clock_,
                          .kept_bytes = kept_bytes_,
                          .budget = budget_,
                          .read_ahead = false})
                 .value();
  }
  ~CacheExpectedChunks() override {
    source_->shutdown();
    layer_.reset();
  }

  std::future<Result<Buffer>> start_read(uint32_t chunk) {
    auto promise = std::make_shared<std::promise<Result<Buffer>>>();
    auto future = promise->get_future();
    layer_->read(chunk * kChunkBytes, 10, Priority::kDemand, clock_.now() + seconds(20),
                 [promise](Result<Buffer> bytes) { promise->set_value(std::move(bytes)); });
    return future;
  }

  Buffer expected(uint32_t chunk) const {
    const auto at = sample_.device.begin() + static_cast<ptrdiff_t>(chunk * kChunkBytes);
    return Buffer(at, at + 10);
  }

  Bytes frame(uint32_t chunk) const {
    const auto at = layer_->table().at(chunk);
    return Bytes(sample_.blob).subspan(at.blob_offset, at.stored_size);
  }

  SystemClock clock_;
  Budget budget_{Limits{}};
  std::atomic<uint64_t> kept_bytes_ = 0;
  test::TempDir directory_;
  test::SampleLayer sample_ = test::SampleLayer::make(8, 32);
  std::shared_ptr<test::FakeRangeSource> source_ =
      std::make_shared<test::FakeRangeSource>(sample_.blob);
  WorkerPool rescue_{1};
  WorkerPool write_{1};
  WorkerPool verify_{1};
  std::shared_ptr<Layer> layer_;
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

TEST_F(CacheExpectedChunks, AreFetchedWhenTheyComeNoMoreAndSomebodyWaits) {
  const auto chunks = layer_->expect({2, 3}).value();
  auto waiting = start_read(2);

  layer_->expect_no_more(chunks);

  EXPECT_EQ(waiting.get().value(), expected(2));
  EXPECT_EQ(source_->reads().size(), 1u) << "nobody waits for chunk 3";
  EXPECT_EQ(start_read(3).get().value(), expected(3));
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
  budget_.measured(uint64_t{100} << 30, (uint64_t{512} << 20) + kChunkBytes, 0);

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
