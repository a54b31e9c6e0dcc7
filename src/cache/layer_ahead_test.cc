#include <gmock/gmock.h>

#include <future>

#include "cache/layer.h"
#include "cache/read_ahead.h"
#include "support/fake_range_source.h"
#include "support/sample_layer.h"
#include "support/temp_dir.h"

namespace runnel::cache {
namespace {

using fetch::Priority;
using std::chrono::microseconds;
using std::chrono::milliseconds;
using testing::ElementsAre;
using testing::IsEmpty;
using testing::UnorderedElementsAre;

constexpr uint32_t kBlocks = 32;
constexpr uint64_t kChunkBytes = kBlocks * artifact::kBlockSize;

class CacheReadAhead : public testing::Test {
 protected:
  CacheReadAhead() { open(true); }
  ~CacheReadAhead() override {
    source_->shutdown();
    layer_.reset();
  }

  void open(bool read_ahead) {
    layer_ = Layer::open(directory_storage(directory_.path()), sample_.parse_table(), source_,
                         {.verify = verify_,
                          .write = write_,
                          .rescue = rescue_,
                          .clock = clock_,
                          .kept_bytes = kept_bytes_,
                          .budget = budget_,
                          .read_ahead = read_ahead})
                 .value();
  }

  std::future<Result<Buffer>> start_read(uint32_t chunk) {
    auto promise = std::make_shared<std::promise<Result<Buffer>>>();
    auto future = promise->get_future();
    layer_->read(chunk * kChunkBytes, 4096, Priority::kDemand,
                 clock_.now() + std::chrono::seconds(20),
                 [promise](Result<Buffer> bytes) { promise->set_value(std::move(bytes)); });
    return future;
  }

  // The chunks that were asked of the source with that priority. The first ones that it was ever
  // asked for are in reads(), so nothing has to be waited for.
  std::vector<uint32_t> asked(Priority priority) const {
    std::vector<uint32_t> chunks;
    const auto table = sample_.parse_table();
    for (const auto& read : source_->reads()) {
      if (read.priority != priority) continue;
      for (uint32_t chunk = 0; chunk < table.size(); ++chunk) {
        const auto at = table.at(chunk);
        if (at.blob_offset != read.offset) continue;
        EXPECT_EQ(at.stored_size, read.length) << "chunk " << chunk << " is not fetched alone";
        chunks.push_back(chunk);
      }
    }
    return chunks;
  }

  test::TempDir directory_;
  SystemClock clock_;
  std::atomic<uint64_t> kept_bytes_ = 0;
  test::SampleLayer sample_ = test::SampleLayer::make(32, kBlocks);  // 80 KiB stored each
  Budget budget_{Limits{}};
  RescueQueue rescue_{1};
  WorkerPool write_{1};
  WorkerPool verify_{1};
  std::shared_ptr<test::FakeRangeSource> source_ =
      std::make_shared<test::FakeRangeSource>(sample_.blob);
  std::shared_ptr<Layer> layer_;
};

TEST_F(CacheReadAhead, FetchesWhatLiesAroundAFirstReadWhenTheSourceIsFar) {
  source_->set_round_trip(milliseconds(20));

  ASSERT_TRUE(start_read(10).get());

  EXPECT_THAT(asked(Priority::kDemand), ElementsAre(10));
  EXPECT_THAT(asked(Priority::kPrefetch), ElementsAre(9, 11, 12));
}

TEST_F(CacheReadAhead, FetchesNothingElseWhenTheSourceIsNear) {
  source_->set_round_trip(microseconds(200));

  ASSERT_TRUE(start_read(10).get());

  EXPECT_THAT(asked(Priority::kPrefetch), IsEmpty());
}

// A machine whose disk is four fifths full is an ordinary one, and its containers start.
TEST_F(CacheReadAhead, GoesOnWhereNothingIsFilledInTheBackground) {
  source_->set_round_trip(milliseconds(20));
  budget_.measured(uint64_t{10} << 30, uint64_t{19} << 26, 0);  // of 10 GiB 1.2 are free
  ASSERT_EQ(budget_.state(), Budget::State::kNoFilling);

  ASSERT_TRUE(start_read(10).get());

  EXPECT_THAT(asked(Priority::kPrefetch), ElementsAre(9, 11, 12));
}

TEST_F(CacheReadAhead, LeavesTheLastOfTheDiskToReaders) {
  source_->set_round_trip(milliseconds(20));
  budget_.measured(uint64_t{10} << 30, uint64_t{900} << 20, 0);

  ASSERT_TRUE(start_read(10).get());

  EXPECT_THAT(asked(Priority::kPrefetch), IsEmpty());
}

TEST_F(CacheReadAhead, CanBeSwitchedOff) {
  open(false);
  source_->set_round_trip(milliseconds(20));

  ASSERT_TRUE(start_read(10).get());

  EXPECT_THAT(asked(Priority::kPrefetch), IsEmpty());
}

TEST_F(CacheReadAhead, GoesOnAtTheFirstReadOfWhatItBrought) {
  source_->set_round_trip(milliseconds(20));
  ASSERT_TRUE(start_read(10).get());
  ASSERT_TRUE(start_read(11).get());

  EXPECT_THAT(asked(Priority::kPrefetch), ElementsAre(9, 11, 12, 13));
  ASSERT_TRUE(start_read(11).get());
  EXPECT_THAT(asked(Priority::kPrefetch), ElementsAre(9, 11, 12, 13)) << "no first read";
}

TEST_F(CacheReadAhead, LetsAReaderOvertakeExactlyWhatIsUnderWay) {
  source_->set_round_trip(milliseconds(20));
  source_->hold();
  auto first = start_read(10);
  source_->wait_for_waiting(4);
  auto second = start_read(11);

  EXPECT_THAT(asked(Priority::kDemand), ElementsAre(10, 11));
  source_->release();
  EXPECT_TRUE(first.get());
  EXPECT_TRUE(second.get());
}

TEST_F(CacheReadAhead, AsksForNothingAgainThatIsHereAndNotVerifiedYet) {
  source_->set_round_trip(milliseconds(20));
  source_->hold();
  auto first = start_read(10);
  source_->wait_for_waiting(4);
  std::promise<void> go_on;
  verify_.submit([verifying = go_on.get_future().share()] { verifying.wait(); });
  source_->release();
  source_->wait_until_quiet();

  auto second = start_read(11);

  EXPECT_THAT(asked(Priority::kDemand), ElementsAre(10));
  go_on.set_value();
  EXPECT_TRUE(first.get());
  EXPECT_TRUE(second.get());
}

TEST_F(CacheReadAhead, LeavesWhatDidNotComeToWhoeverNeedsIt) {
  source_->set_round_trip(milliseconds(20));
  source_->hold();
  auto first = start_read(10);
  source_->wait_for_waiting(4);
  source_->fail(Error(Code::kDenied, "not now"), 1);
  auto second = start_read(20);
  source_->release();
  ASSERT_TRUE(first.get());
  EXPECT_FALSE(second.get());
  source_->succeed();

  const auto bytes = start_read(12).get();

  ASSERT_TRUE(bytes);
  EXPECT_TRUE(std::ranges::equal(*bytes, Bytes(sample_.device).subspan(12 * kChunkBytes, 4096)));
}

TEST_F(CacheReadAhead, KeepsTheOrderOfFirstReads) {
  for (const uint32_t chunk : {7, 3, 7, 30}) ASSERT_TRUE(start_read(chunk).get());

  std::vector<uint32_t> order;
  for (const auto& touch : layer_->touches()) order.push_back(touch.chunk);

  EXPECT_THAT(order, ElementsAre(7, 3, 30));
}

TEST_F(CacheReadAhead, NotesWhatAFirstReadWaitedFor) {
  source_->set_round_trip(milliseconds(20));
  source_->hold();
  auto first = start_read(10);
  source_->wait_for_waiting(4);
  auto joined = start_read(11);
  EXPECT_EQ(layer_->touches().at(0).ready_us, Touch::kNotYet) << "it waits still";
  source_->release();
  ASSERT_TRUE(first.get());
  ASSERT_TRUE(joined.get());
  ASSERT_TRUE(start_read(12).get());
  const auto table = sample_.parse_table();
  const auto at = table.at(20);
  ASSERT_TRUE(layer_->insert(20, Bytes(sample_.blob).subspan(at.blob_offset, at.stored_size)));
  ASSERT_TRUE(start_read(20).get());

  const auto touches = layer_->touches();
  ASSERT_EQ(touches.size(), 4u);
  const auto is = [&](size_t index, Wait wait, Origin origin) {
    EXPECT_EQ(touches[index].wait, wait) << index;
    EXPECT_EQ(touches[index].origin, origin) << index;
    EXPECT_NE(touches[index].ready_us, Touch::kNotYet) << index;
    EXPECT_LE(touches[index].arrived_us, touches[index].ready_us) << index;
  };
  is(0, Wait::kFetch, Origin::kDemand);
  is(1, Wait::kJoined, Origin::kAhead);
  EXPECT_EQ(touches[2].origin, Origin::kAhead);  // it may have waited for its verification
  is(3, Wait::kNone, Origin::kHotPack);
}

TEST_F(CacheReadAhead, NotesAReadThatFailed) {
  source_->fail(Error(Code::kUnavailable, "not now"), 1);
  EXPECT_FALSE(start_read(10).get());

  EXPECT_EQ(layer_->touches().at(0).wait, Wait::kFailed);
}

TEST(Touches, KeepsNoMoreThanItsBound) {
  Touches touches(Touches::kMaxOrder + 10);
  for (uint32_t chunk = 0; chunk < Touches::kMaxOrder + 10; ++chunk) {
    ASSERT_TRUE(touches.add(chunk, SteadyTime()));
    touches.waits(touches.last(), Wait::kFetch);
  }
  touches.ready(Touches::kNotKept, {}, {}, Origin::kDemand);  // nothing happens

  EXPECT_EQ(touches.order().size(), Touches::kMaxOrder);
  EXPECT_FALSE(touches.add(Touches::kMaxOrder + 5, SteadyTime())) << "it was touched";
}

TEST(Touches, TellsWhenTheFirstAndTheLastWereSinceAMoment) {
  Touches touches(10);
  const auto at = [](int seconds) { return SteadyTime() + std::chrono::seconds(seconds); };
  EXPECT_FALSE(touches.since({}));
  for (const int second : {1, 3, 7}) touches.add(second, at(second));
  touches.add(1, at(9));  // not the first time

  EXPECT_EQ(touches.since(at(2))->first, at(3));
  EXPECT_EQ(touches.since(at(3))->first, at(3));
  EXPECT_EQ(touches.since({})->last, at(7));
  EXPECT_FALSE(touches.since(at(8)));
}

TEST(ReadAheadWindow, ShrinksWithTheRoundTrip) {
  EXPECT_TRUE(ReadAhead::after(Duration::zero()).empty());
  EXPECT_TRUE(ReadAhead::after(microseconds(499)).empty());
  EXPECT_EQ(ReadAhead::after(milliseconds(1)).behind, ReadAhead::kAfter / 2);
  EXPECT_EQ(ReadAhead::after(milliseconds(2)).before, ReadAhead::kBefore);
  EXPECT_EQ(ReadAhead::after(std::chrono::seconds(1)).behind, ReadAhead::kAfter);
}

TEST(ReadAheadWindow, StaysInsideTheLayer) {
  const auto table = test::SampleLayer::make(4, kBlocks).parse_table();
  const auto window = ReadAhead::after(milliseconds(2));

  EXPECT_EQ(window.around(table, 0).first, 0u);
  EXPECT_EQ(window.around(table, 0).last, 2u);
  EXPECT_EQ(window.around(table, 3).first, 2u);
  EXPECT_EQ(window.around(table, 3).last, 3u);
}

}  // namespace
}  // namespace runnel::cache
