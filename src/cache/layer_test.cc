#include "cache/layer.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <atomic>
#include <future>

#include "base/durable.h"
#include "base/fd.h"
#include "base/worker_pool.h"
#include "cache/fault.h"
#include "support/fake_clock.h"
#include "support/fake_range_source.h"
#include "support/open_layer.h"
#include "support/sample_layer.h"
#include "support/temp_dir.h"

namespace runnel::cache {
namespace {

using fetch::Priority;
using test::FakeRangeSource;
using test::SampleLayer;

constexpr uint32_t kChunks = 8;
constexpr uint32_t kBlocks = 4;
constexpr uint64_t kChunkBytes = kBlocks * artifact::kBlockSize;

// A layer on a source that the test scripts; threads and files are real.
class CacheLayer : public testing::Test {
 protected:
  CacheLayer() { open(); }
  ~CacheLayer() override {
    set_faults({});
    stop();
  }

  void open(Layer::Left left = Layer::Left::kAnyhow) {
    verify_ = std::make_unique<WorkerPool>(1);  // one thread, so that settle() is a barrier
    write_ = std::make_unique<WorkerPool>(1);
    source_ = std::make_shared<FakeRangeSource>(sample_.blob);
    layer_ = Layer::open(directory_storage(directory_.path()), sample_.parse_table(), source_,
                         {.verify = *verify_,
                          .write = *write_,
                          .rescue = rescue_pool_,
                          .clock = clock_,
                          .kept_bytes = kept_bytes_,
                          .budget = budget_},
                         left)
                 .value();
  }

  // As if the process had been killed: nothing is synced.
  void stop() {
    source_->shutdown();
    settle();
    layer_.reset();
    verify_.reset();
    write_.reset();
  }
  void close_and_reopen() {
    source_->shutdown();
    settle();
    const bool closed = layer_->close().value();
    stop();
    open(closed ? Layer::Left::kClosed : Layer::Left::kAnyhow);
  }
  void kill_and_reopen() {
    stop();
    open();
  }

  // Until the threads have done what was handed to them.
  void settle() {
    std::promise<void> verified;
    verify_->submit([&] { verified.set_value(); });
    verified.get_future().wait();
    std::promise<void> written;
    write_->submit([&] { written.set_value(); });
    written.get_future().wait();
  }

  std::future<Result<Buffer>> start_read(uint64_t offset, uint64_t length,
                                         Priority priority = Priority::kDemand,
                                         Duration patience = std::chrono::seconds(20)) {
    auto promise = std::make_shared<std::promise<Result<Buffer>>>();
    auto future = promise->get_future();
    layer_->read(offset, length, priority, clock_.now() + patience,
                 [promise](Result<Buffer> bytes) { promise->set_value(std::move(bytes)); });
    return future;
  }
  Result<Buffer> read(uint64_t offset, uint64_t length) { return start_read(offset, length).get(); }
  Buffer expected(uint64_t offset, uint64_t length) const {
    const auto view = Bytes(sample_.device).subspan(offset, length);
    return {view.begin(), view.end()};
  }
  void read_all() { ASSERT_EQ(read(0, layer_->size()).value(), sample_.device); }
  void damage(uint32_t chunk) {
    const auto file = open_file(layer_->device_path(), O_RDWR).value();
    ASSERT_TRUE(write_all_at(file.get(), as_bytes("damage"), chunk * kChunkBytes + 100));
  }

  test::TempDir directory_;
  SystemClock clock_;
  Budget budget_{Limits{}};
  std::atomic<uint64_t> kept_bytes_ = 0;
  SampleLayer sample_ = SampleLayer::make(kChunks, kBlocks);
  RescueQueue rescue_pool_{1};
  std::unique_ptr<WorkerPool> verify_;
  std::unique_ptr<WorkerPool> write_;
  std::shared_ptr<FakeRangeSource> source_;
  std::shared_ptr<Layer> layer_;
};

TEST_F(CacheLayer, GivesAnyRangeOfTheDevice) {
  EXPECT_EQ(read(5, 10).value(), expected(5, 10));
  EXPECT_EQ(read(kChunkBytes - 1, 2 * kChunkBytes).value(),
            expected(kChunkBytes - 1, 2 * kChunkBytes));
  EXPECT_EQ(read(layer_->size() - 1, 1).value(), expected(layer_->size() - 1, 1));
}

TEST_F(CacheLayer, AsksForNeighboursInOneRange) {
  ASSERT_TRUE(read(0, 3 * kChunkBytes));

  ASSERT_EQ(source_->reads().size(), 1u);
  const auto third = layer_->table().at(2);
  EXPECT_EQ(source_->reads()[0].offset, 0u);
  EXPECT_EQ(source_->reads()[0].length, third.blob_offset + third.stored_size);
}

TEST_F(CacheLayer, FetchesAChunkOnceForAllWhoWantIt) {
  source_->hold();
  std::vector<std::future<Result<Buffer>>> reads;
  for (int i = 0; i < 10; ++i) reads.push_back(start_read(kChunkBytes + i, 100));

  source_->release();

  for (int i = 0; i < 10; ++i) EXPECT_EQ(reads[i].get().value(), expected(kChunkBytes + i, 100));
  EXPECT_EQ(source_->reads().size(), 1u);
}

TEST_F(CacheLayer, ReadsFromDiskWhatIsDurable) {
  read_all();
  settle();
  ASSERT_TRUE(layer_->sync());
  const auto before = source_->reads().size();

  read_all();

  EXPECT_EQ(source_->reads().size(), before);
  EXPECT_TRUE(layer_->complete());
  EXPECT_EQ(kept_bytes_, 0u);
  Buffer now(100);
  EXPECT_TRUE(layer_->read_now(kChunkBytes - 50, now));
  EXPECT_EQ(now, expected(kChunkBytes - 50, 100));
}

TEST_F(CacheLayer, DoesNotBelieveTheFileBeforeItIsDurable) {
  read_all();
  settle();
  damage(3);

  // From memory, or hashed again: never what the disk says alone.
  EXPECT_EQ(read(3 * kChunkBytes, kChunkBytes).value(), expected(3 * kChunkBytes, kChunkBytes));
  Buffer now(10);
  EXPECT_FALSE(layer_->read_now(3 * kChunkBytes + 100, now));
}

TEST_F(CacheLayer, HashesAgainWhatIsWrittenButNoLongerInMemory) {
  kept_bytes_ = uint64_t{1} << 40;  // no room for anything
  read_all();
  settle();
  damage(3);

  EXPECT_EQ(read(3 * kChunkBytes, kChunkBytes).value(), expected(3 * kChunkBytes, kChunkBytes));
  EXPECT_EQ(source_->reads().size(), 2u);  // fetched again
}

TEST_F(CacheLayer, FetchesAgainWhatCameCorrupt) {
  source_->corrupt(2);

  EXPECT_EQ(read(0, kChunkBytes).value(), expected(0, kChunkBytes));

  EXPECT_EQ(source_->reads().size(), 3u);
  EXPECT_EQ(layer_->stats().corrupt_chunks, 2u);
}

TEST_F(CacheLayer, GivesAnErrorForWhatStaysCorruptAndRecoversLater) {
  source_->corrupt();

  const auto wrong = read(0, kChunkBytes);
  ASSERT_FALSE(wrong);
  EXPECT_EQ(wrong.error().code, Code::kUnavailable);
  EXPECT_EQ(layer_->stats().bytes_present, 0u);

  source_->succeed();
  EXPECT_EQ(read(0, kChunkBytes).value(), expected(0, kChunkBytes));
}

TEST_F(CacheLayer, OneBadChunkOfARunLeavesTheOthersGood) {
  source_->corrupt(1);  // flips a byte in the middle of the run

  read_all();

  EXPECT_EQ(layer_->stats().corrupt_chunks, 1u);
}

TEST_F(CacheLayer, TellsEveryReaderThatTheSourceFailed) {
  source_->hold();
  source_->fail(Error(Code::kNotFound, "the blob is gone"));
  auto one = start_read(0, 10);
  auto two = start_read(20, 10);

  source_->release();

  EXPECT_EQ(one.get().error().code, Code::kNotFound);
  EXPECT_EQ(two.get().error().code, Code::kNotFound);
  source_->succeed();
  EXPECT_TRUE(read(0, 10));
}

TEST_F(CacheLayer, EndsAReadAtItsDeadlineWhoeverElseWaits) {
  source_->hold();
  layer_->fill(true);  // has a minute
  auto hasty = start_read(0, 10, Priority::kBackground, std::chrono::milliseconds(1));
  auto patient = start_read(0, 10, Priority::kBackground);

  layer_->expire(clock_.now() + std::chrono::seconds(1));

  EXPECT_EQ(hasty.get().error().code, Code::kUnavailable);
  source_->release();
  EXPECT_EQ(patient.get().value(), expected(0, 10));
}

TEST_F(CacheLayer, KeepsNothingOfReadsThatEndedWhileOthersComeForTheirChunk) {
  source_->hold();
  std::vector<std::weak_ptr<int>> reads;
  for (int i = 0; i < 4; ++i) {
    const auto kept = std::make_shared<int>(i);
    reads.push_back(kept);
    const auto deadline = clock_.now() + std::chrono::seconds(20);
    layer_->read(0, 10, Priority::kDemand, deadline, [kept](const Result<ReadBytes>&) {});
    layer_->expire(deadline);
  }

  for (size_t i = 0; i + 1 < reads.size(); ++i) EXPECT_TRUE(reads[i].expired()) << i;
  EXPECT_EQ(source_->reads().size(), 1u);
}

TEST_F(CacheLayer, KeepsWhatAFetchBringsThatHadMoreTimeThanItsReader) {
  source_->hold();
  const auto now = clock_.now();
  std::promise<Result<Buffer>> hasty;
  layer_->read(
      0, 10, Priority::kDemand, now + std::chrono::milliseconds(1),
      [&](Result<Buffer> bytes) { hasty.set_value(std::move(bytes)); },
      now + std::chrono::seconds(20));
  layer_->expire(now + std::chrono::seconds(1));
  EXPECT_EQ(hasty.get_future().get().error().code, Code::kUnavailable);

  source_->release();

  EXPECT_EQ(read(0, 10).value(), expected(0, 10));
  EXPECT_EQ(source_->reads().size(), 1u);
}

TEST_F(CacheLayer, TellsWhetherItsSourceLives) {
  const auto opened = layer_->signs();
  source_->hold();
  auto waiting = start_read(0, 10);
  source_->wait_for_waiting(1);
  EXPECT_GT(layer_->signs().asked, opened.asked);
  EXPECT_EQ(layer_->signs().chunk, opened.chunk);
  const auto heard = clock_.now();
  source_->set_heard_at(heard);
  EXPECT_EQ(layer_->signs().bytes, heard);

  source_->release();

  ASSERT_TRUE(waiting.get());
  EXPECT_GT(layer_->signs().chunk, opened.chunk);
}

TEST_F(CacheLayer, DoesNotTakeWrongBytesForASignOfAChunk) {
  const auto opened = layer_->signs();
  source_->corrupt();
  EXPECT_FALSE(read(0, 10));
  EXPECT_EQ(layer_->signs().chunk, opened.chunk);
}

TEST_F(CacheLayer, KeepsWhatIsDurableOverACleanStop) {
  read_all();
  settle();

  close_and_reopen();

  read_all();
  EXPECT_TRUE(source_->reads().empty());
  EXPECT_TRUE(layer_->complete());
}

TEST_F(CacheLayer, FindsWhatADiskLostInAnUncleanStop) {
  read_all();
  settle();
  ASSERT_TRUE(layer_->sync());
  damage(5);

  kill_and_reopen();

  EXPECT_FALSE(layer_->complete());
  read_all();
  ASSERT_EQ(source_->reads().size(), 1u);
  EXPECT_EQ(source_->reads()[0].offset, layer_->table().at(5).blob_offset);
}

TEST_F(CacheLayer, StaysSuspiciousUntilEverythingWasLookedAt) {
  read_all();
  settle();
  ASSERT_TRUE(layer_->sync());
  damage(5);
  kill_and_reopen();
  ASSERT_TRUE(read(0, 10));  // looks at the first chunk only

  close_and_reopen();

  EXPECT_FALSE(layer_->complete());
  read_all();
}

TEST_F(CacheLayer, ForgetsTheBitOfWhatWasFoundBad) {
  read_all();
  settle();
  ASSERT_TRUE(layer_->sync());
  damage(5);
  kill_and_reopen();
  source_->fail(Error(Code::kUnavailable, "down"));
  EXPECT_FALSE(read(0, layer_->size()));  // every chunk was hashed, the fifth is bad and stays away

  close_and_reopen();

  EXPECT_EQ(layer_->stats().bytes_present, (kChunks - 1) * kChunkBytes);
  read_all();
}

TEST_F(CacheLayer, LosesWhatWasNotSyncedInAnUncleanStop) {
  read_all();
  settle();

  kill_and_reopen();

  EXPECT_EQ(layer_->stats().bytes_present, 0u);
  read_all();
}

TEST_F(CacheLayer, LosesItsBitsWhenTheTableIsAnother) {
  read_all();
  settle();
  ASSERT_TRUE(layer_->close().value());
  stop();
  sample_ = SampleLayer::make(kChunks, kBlocks, 2);

  open(Layer::Left::kClosed);

  read_all();
}

TEST_F(CacheLayer, AnswersFromMemoryWhenTheDiskIsFull) {
  set_faults([](std::string_view point) { return point == "write" ? ENOSPC : 0; });

  read_all();
  settle();

  EXPECT_EQ(layer_->stats().bytes_present, 0u);
  EXPECT_EQ(kept_bytes_, 0u);
  read_all();
  EXPECT_EQ(source_->reads().size(), 2u);
}

TEST_F(CacheLayer, TakesEverythingSinceTheLastGoodSyncForLost) {
  ASSERT_TRUE(read(0, kChunkBytes));
  settle();
  ASSERT_TRUE(layer_->sync());
  read_all();
  settle();
  set_faults([](std::string_view point) { return point == "fdatasync" ? EIO : 0; });

  EXPECT_FALSE(layer_->sync());

  set_faults({});
  EXPECT_EQ(layer_->stats().bytes_present, kChunkBytes);
  EXPECT_TRUE(layer_->sync());
  EXPECT_FALSE(layer_->complete());
  read_all();
}

TEST_F(CacheLayer, TakesAWriteForLostThatRanWhileASyncFailed) {
  std::promise<void> writing;
  std::promise<void> go_on;
  set_faults([&](std::string_view point) {
    if (point == "fdatasync") return EIO;
    if (point != "write" || layer_->stats().bytes_present == 0) return 0;
    writing.set_value();
    go_on.get_future().wait();
    return 0;
  });
  ASSERT_TRUE(read(0, kChunkBytes));
  settle();
  ASSERT_TRUE(read(kChunkBytes, kChunkBytes));
  writing.get_future().wait();

  EXPECT_FALSE(layer_->sync());
  go_on.set_value();
  settle();

  EXPECT_EQ(layer_->stats().bytes_present, 0u);
}

TEST_F(CacheLayer, IsNotCompleteWhenTheBitsCannotBeWritten) {
  read_all();
  settle();
  set_faults([](std::string_view point) { return point == "bits" ? EIO : 0; });

  EXPECT_FALSE(layer_->sync());

  set_faults({});
  EXPECT_FALSE(layer_->complete());
}

TEST_F(CacheLayer, ChecksSuspectsWhileItFills) {
  read_all();
  settle();
  ASSERT_TRUE(layer_->sync());
  kill_and_reopen();

  while (!layer_->complete()) {
    layer_->fill(true);
    settle();
    ASSERT_TRUE(layer_->sync());
  }

  EXPECT_TRUE(source_->reads().empty());
}

TEST_F(CacheLayer, TakesAFrameThatCameAnotherWay) {
  const auto chunk = layer_->table().at(2);
  const auto frame = Bytes(sample_.blob).subspan(chunk.blob_offset, chunk.stored_size);

  ASSERT_TRUE(layer_->insert(2, frame));

  EXPECT_EQ(read(2 * kChunkBytes, 10).value(), expected(2 * kChunkBytes, 10));
  EXPECT_TRUE(source_->reads().empty());
  EXPECT_EQ(layer_->stats().bytes_fetched, 0u) << "who brought it counts it";
}

TEST_F(CacheLayer, RefusesAFrameThatIsNotTheChunk) {
  const auto chunk = layer_->table().at(2);
  Buffer frame(
      sample_.blob.begin() + static_cast<ptrdiff_t>(chunk.blob_offset),
      sample_.blob.begin() + static_cast<ptrdiff_t>(chunk.blob_offset + chunk.stored_size));

  EXPECT_EQ(layer_->insert(3, frame).error().code, Code::kInvalid);
  EXPECT_EQ(layer_->insert(2, Bytes(frame).first(frame.size() - 1)).error().code, Code::kInvalid);
  EXPECT_EQ(layer_->stats().bytes_present, 0u);
}

TEST_F(CacheLayer, AnswersWaitersWithAFrameThatCameAnotherWay) {
  source_->hold();
  auto waiting = start_read(2 * kChunkBytes, 10);
  const auto chunk = layer_->table().at(2);

  ASSERT_TRUE(layer_->insert(2, Bytes(sample_.blob).subspan(chunk.blob_offset, chunk.stored_size)));

  EXPECT_EQ(waiting.get().value(), expected(2 * kChunkBytes, 10));
  source_->release();
}

// A disk that writes nothing for now, with room in memory for three chunks more.
class CacheLayerOnASlowDisk : public CacheLayer {
 protected:
  CacheLayerOnASlowDisk() {
    kept_bytes_ += kOthers;
    write_->submit([go = go_.get_future().share()] { go.wait(); });
  }
  ~CacheLayerOnASlowDisk() override {
    if (!writes_) let_write();
  }
  void let_write() {
    writes_ = true;
    go_.set_value();
    settle();
    kept_bytes_ -= kOthers;
  }
  Bytes frame(uint32_t chunk) const {
    const auto at = layer_->table().at(chunk);
    return Bytes(sample_.blob).subspan(at.blob_offset, at.stored_size);
  }

  static constexpr uint64_t kRoom = 3 * kChunkBytes;
  static constexpr uint64_t kOthers = Layer::kMostKept - kRoom;

 private:
  std::promise<void> go_;
  bool writes_ = false;
};

TEST_F(CacheLayerOnASlowDisk, AnswersEveryReaderAndKeepsWhatMemoryAllows) {
  for (uint32_t chunk = 0; chunk < kChunks; ++chunk) {
    const auto at = chunk * kChunkBytes;
    EXPECT_EQ(read(at, kChunkBytes).value(), expected(at, kChunkBytes));
  }
  EXPECT_EQ(layer_->stats().bytes_in_memory, kRoom);
  EXPECT_EQ(layer_->stats().bytes_not_kept, layer_->size() - kRoom);
  EXPECT_EQ(kept_bytes_, kOthers + kRoom);

  EXPECT_TRUE(read(0, kChunkBytes)) << "from memory";
  EXPECT_EQ(source_->reads().size(), kChunks);
  const auto last = (kChunks - 1) * kChunkBytes;
  EXPECT_EQ(read(last, kChunkBytes).value(), expected(last, kChunkBytes));
  EXPECT_EQ(source_->reads().size(), kChunks + 1) << "once more, because it was not kept";

  let_write();
  EXPECT_EQ(layer_->stats().bytes_present, kRoom);
  read_all();
  while (!layer_->complete()) {
    settle();
    ASSERT_TRUE(layer_->sync());
  }
  EXPECT_EQ(kept_bytes_, 0u);
  close_and_reopen();
  EXPECT_TRUE(layer_->complete());
  read_all();
}

TEST_F(CacheLayerOnASlowDisk, LetsGoOfAHotPackThatWouldNotFit) {
  const std::vector<uint32_t> pack{1, 2, 3, 4, 5};
  ASSERT_EQ(layer_->expect(pack).value(), pack);
  auto waiting = start_read(5 * kChunkBytes, 100);

  for (const uint32_t chunk : pack) EXPECT_TRUE(layer_->insert(chunk, frame(chunk)));

  EXPECT_EQ(waiting.get().value(), expected(5 * kChunkBytes, 100));
  EXPECT_EQ(layer_->stats().bytes_in_memory, kRoom);
  layer_->expect_no_more(pack);
  EXPECT_TRUE(source_->reads().empty());
  EXPECT_EQ(read(5 * kChunkBytes, 100).value(), expected(5 * kChunkBytes, 100));
  EXPECT_EQ(source_->reads().size(), 1u);
  let_write();
  read_all();
}

TEST_F(CacheLayerOnASlowDisk, TellsWhoCanWait) {
  EXPECT_TRUE(layer_->is_ahead_of_disk());
  let_write();
  EXPECT_FALSE(layer_->is_ahead_of_disk());
}

TEST_F(CacheLayerOnASlowDisk, IsFilledWhenItWritesAgain) {
  layer_->lend_no_more();
  layer_->fill(true);
  EXPECT_TRUE(read(0, layer_->size()));
  let_write();

  while (!layer_->complete()) {
    layer_->fill(true);
    ASSERT_TRUE(layer_->sync());
    std::this_thread::yield();
  }
  read_all();
}

TEST(CacheDeletedLayer, IsFilledOnceAndNotAgainAndAgain) {
  test::OpenLayer open;
  open.layer->lend_no_more();

  open.complete();

  uint64_t asked = 0;
  for (const auto& read : open.source->reads()) asked += read.length;
  EXPECT_EQ(asked, open.sample.blob.size());
}

}  // namespace
}  // namespace runnel::cache
