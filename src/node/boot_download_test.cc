#include "node/boot_download.h"

#include <gtest/gtest.h>

#include <deque>
#include <future>
#include <thread>

#include "support/open_layer.h"

namespace runnel::node {
namespace {

using std::chrono::seconds;

constexpr uint64_t kFront = 100;  // bytes of head and tables, which are the caller's business

// What the registry sends, when the test says so.
class Line {
 public:
  void send(Bytes bytes) {
    const std::lock_guard lock(mutex_);
    pieces_.emplace_back(bytes.begin(), bytes.end());
    changed_.notify_all();
  }
  void end(Result<void> outcome = {}) {
    const std::lock_guard lock(mutex_);
    ending_ = std::move(outcome);
    changed_.notify_all();
  }
  BootDownload::Fetch fetch() {
    return [this](const std::function<Result<void>(Bytes)>& consume) { return run(consume); };
  }

 private:
  Result<void> run(const std::function<Result<void>(Bytes)>& consume) {
    for (;;) {
      std::unique_lock lock(mutex_);
      changed_.wait(lock, [this] { return !pieces_.empty() || ending_; });
      if (pieces_.empty()) return *ending_;
      const Buffer piece = std::move(pieces_.front());
      pieces_.pop_front();
      lock.unlock();
      RUNNEL_DO(consume(piece));
    }
  }

  std::mutex mutex_;
  std::condition_variable changed_;
  std::deque<Buffer> pieces_;
  std::optional<Result<void>> ending_;
};

class NodeBootDownload : public testing::Test {
 protected:
  NodeBootDownload() {
    boot_.head.layers = {{.device_blocks = 1, .slot = 1}};
    boot_.tables.push_back(open_.sample.parse_table());
    for (const uint32_t chunk : {5U, 2U, 3U}) {
      boot_.head.hot.push_back({.layer = 0, .chunk = chunk});
      const auto piece = frame(chunk);
      hot_pack_.insert(hot_pack_.end(), piece.begin(), piece.end());
    }
  }
  ~NodeBootDownload() override {
    line_.end();
    download_.reset();
  }

  BootDownload& begin() {
    download_ = std::make_unique<BootDownload>("image", line_.fetch());
    return *download_;
  }

  SteadyTime in_time() const { return clock_.now() + seconds(60); }

  Bytes frame(uint32_t chunk) const { return open_.frame(chunk); }
  std::future<Result<Buffer>> start_read(uint32_t chunk) { return open_.read(chunk); }
  Buffer expected(uint32_t chunk) const { return open_.expected(chunk); }

  test::OpenLayer open_;
  Clock& clock_ = open_.clock;
  cache::Budget& budget_ = open_.budget;
  test::FakeRangeSource* const source_ = open_.source.get();
  const std::shared_ptr<cache::Layer> layer_ = open_.layer;

  artifact::Boot boot_;
  Buffer hot_pack_;
  Buffer front_ = Buffer(kFront, std::byte{7});
  Line line_;
  std::unique_ptr<BootDownload> download_;
};

TEST_F(NodeBootDownload, GivesTheFrontBeforeTheRestHasCome) {
  auto& download = begin();
  line_.send(Bytes(front_).first(40));
  line_.send(Bytes(front_).subspan(40));

  EXPECT_EQ(download.take(60, in_time()).value(), Buffer(60, std::byte{7}));
  EXPECT_EQ(download.take(kFront - 60, in_time()).value(), Buffer(kFront - 60, std::byte{7}));
}

TEST_F(NodeBootDownload, SaysWhyTheFrontDoesNotCome) {
  auto& cut = begin();
  line_.end(fail(Code::kUnavailable, "the line is down"));
  EXPECT_EQ(cut.take(60, in_time()).error().message, "the line is down");

  BootDownload short_one("image",
                         [](const auto& consume) { return consume(Buffer(10, std::byte{7})); });
  EXPECT_EQ(short_one.take(60, in_time()).error().code, Code::kInvalid);
}

TEST_F(NodeBootDownload, DoesNotWaitForAFrontBeyondItsTime) {
  auto& download = begin();
  line_.send(Bytes(front_).first(10));

  const auto late = download.take(60, clock_.now() + std::chrono::milliseconds(20));

  EXPECT_EQ(late.error().code, Code::kUnavailable);
  line_.send(Bytes(front_).subspan(10));
  EXPECT_TRUE(download.take(kFront, in_time())) << "nothing of it is lost";
}

TEST_F(NodeBootDownload, EndsWhoWaitsForAFrontWhenItIsCancelled) {
  auto& download = begin();
  auto front = std::async(std::launch::async, [&] { return download.take(kFront, in_time()); });
  EXPECT_EQ(front.wait_for(std::chrono::milliseconds(20)), std::future_status::timeout);

  download.cancel();

  ASSERT_EQ(front.wait_for(seconds(10)), std::future_status::ready);
  EXPECT_EQ(front.get().error().code, Code::kCancelled);
}

TEST_F(NodeBootDownload, ReadersOfTheHotPackWaitForItAndFetchNothing) {
  auto& download = begin();
  line_.send(front_);
  ASSERT_TRUE(download.take(kFront, in_time()));
  ASSERT_TRUE(download.unpack(boot_, {layer_}));
  auto third = start_read(3);
  auto first = start_read(5);

  for (const std::byte each : hot_pack_) line_.send(Bytes(&each, 1));

  EXPECT_EQ(first.get().value(), expected(5));
  EXPECT_EQ(third.get().value(), expected(3));
  EXPECT_TRUE(source_->reads().empty());
}

TEST_F(NodeBootDownload, UnpacksWhatHadComeBefore) {
  BootDownload download("image", [&](const auto& consume) -> Result<void> {
    RUNNEL_DO(consume(front_));
    return consume(hot_pack_);
  });
  ASSERT_TRUE(download.take(kFront, in_time()));
  ASSERT_TRUE(download.unpack(boot_, {layer_}));

  for (const uint32_t chunk : {2U, 3U, 5U})
    EXPECT_EQ(start_read(chunk).get().value(), expected(chunk));
  EXPECT_TRUE(source_->reads().empty());
}

TEST_F(NodeBootDownload, LeavesToReadersWhatDoesNotCome) {
  auto& download = begin();
  line_.send(front_);
  ASSERT_TRUE(download.take(kFront, in_time()));
  ASSERT_TRUE(download.unpack(boot_, {layer_}));
  auto third = start_read(3);
  line_.send(Bytes(hot_pack_).first(frame(5).size() + 10));

  line_.end(fail(Code::kUnavailable, "the line is down"));

  EXPECT_EQ(third.get().value(), expected(3));
  EXPECT_EQ(start_read(5).get().value(), expected(5));
  EXPECT_EQ(source_->reads().size(), 1u) << "chunk 5 had come";
}

TEST_F(NodeBootDownload, LeavesToReadersWhatComesWrong) {
  hot_pack_[frame(5).size() + 20] ^= std::byte{1};
  auto& download = begin();
  line_.send(front_);
  ASSERT_TRUE(download.take(kFront, in_time()));
  ASSERT_TRUE(download.unpack(boot_, {layer_}));
  auto second = start_read(2);

  line_.send(hot_pack_);
  line_.end();

  EXPECT_EQ(second.get().value(), expected(2));
  EXPECT_EQ(start_read(3).get().value(), expected(3));
  EXPECT_EQ(source_->reads().size(), 1u);
}

TEST_F(NodeBootDownload, HandsOutNothingOnceItIsCancelled) {
  auto& download = begin();
  line_.send(front_);
  ASSERT_TRUE(download.take(kFront, in_time()));
  ASSERT_TRUE(download.unpack(boot_, {layer_}));
  auto second = start_read(2);

  download.cancel();
  EXPECT_EQ(second.get().value(), expected(2)) << "fetched now";
  line_.send(hot_pack_);

  EXPECT_EQ(source_->reads().size(), 1u);
  EXPECT_EQ(start_read(3).get().value(), expected(3));
  EXPECT_EQ(source_->reads().size(), 2u);
}

TEST_F(NodeBootDownload, EndsWhereLittleIsLackingAndFetchesThat) {
  for (const uint32_t chunk : {5U, 2U}) ASSERT_TRUE(start_read(chunk).get());
  auto& download = begin();
  line_.send(front_);
  ASSERT_TRUE(download.take(kFront, in_time()));
  ASSERT_TRUE(download.unpack(boot_, {layer_}));

  EXPECT_EQ(start_read(3).get().value(), expected(3)) << "although nothing more came";
  const auto reads = source_->reads();  // of 5, of 2, then this, which a reader may have overtaken
  ASSERT_GE(reads.size(), 3u);
  EXPECT_EQ(reads[2].priority, fetch::Priority::kPrefetch);
  EXPECT_EQ(reads[2].length, frame(3).size());
  line_.send(hot_pack_);  // refused, which ends it
  while (!download.is_over()) std::this_thread::yield();
}

TEST_F(NodeBootDownload, EndsWhereAnotherPackBringsTheChunks) {
  ASSERT_TRUE(layer_->expect({5, 2, 3}));
  auto& download = begin();
  line_.send(front_);
  ASSERT_TRUE(download.take(kFront, in_time()));
  ASSERT_TRUE(download.unpack(boot_, {layer_}));

  line_.send(hot_pack_);
  while (!download.is_over()) std::this_thread::yield();
  EXPECT_TRUE(source_->reads().empty());
}

TEST_F(NodeBootDownload, HoldsNoMoreThanItsLimitBeforeItIsUnpacked) {
  std::atomic<uint64_t> sent = 0;
  const Buffer piece(1 << 20);
  BootDownload download("image", [&](const auto& consume) -> Result<void> {
    for (;;) {
      sent += piece.size();
      RUNNEL_DO(consume(piece));
    }
  });

  ASSERT_TRUE(download.take(BootDownload::kMostWaiting, in_time()));
  ASSERT_TRUE(download.take(1, in_time()));
  download.cancel();

  EXPECT_LE(sent, 3 * BootDownload::kMostWaiting) << "each byte taken makes room for another";
}

TEST_F(NodeBootDownload, EndsByItselfWhenNobodyTakesAnythingInTime) {
  std::promise<Result<void>> last;
  BootDownload download(
      "image",
      [&](const auto& consume) -> Result<void> {
        Result<void> outcome;
        while (outcome) outcome = consume(Buffer(1, std::byte{7}));
        last.set_value(outcome);
        return outcome;
      },
      BootDownload::kMostWaiting, std::chrono::milliseconds(1));

  EXPECT_EQ(last.get_future().get().error().code, Code::kCancelled);
  while (!download.is_over()) std::this_thread::yield();
  EXPECT_FALSE(download.take(1, in_time()));
}

TEST_F(NodeBootDownload, EndsByItselfWhenItHasAllAndNobodyTakesAnythingInTime) {
  BootDownload download(
      "image", [&](const auto& consume) { return consume(front_); }, BootDownload::kMostWaiting,
      std::chrono::milliseconds(1));

  while (!download.is_over()) std::this_thread::yield();
  EXPECT_FALSE(download.take(1, in_time()));
}

TEST_F(NodeBootDownload, WaitsForUnpackingOnceSomebodyTookOfIt) {
  BootDownload download(
      "image",
      [&](const auto& consume) -> Result<void> {
        RUNNEL_DO(consume(front_));
        return consume(hot_pack_);
      },
      BootDownload::kMostWaiting, seconds(3600));
  ASSERT_TRUE(download.take(kFront, in_time()));
  ASSERT_TRUE(download.unpack(boot_, {layer_}));

  EXPECT_EQ(start_read(3).get().value(), expected(3));
  EXPECT_TRUE(source_->reads().empty());
}

// The image's table is not the layer's when two artifacts say different things of one blob.
TEST_F(NodeBootDownload, RefusesAHotPackWithAChunkThatTheLayerDoesNotHave) {
  const auto other =
      test::SampleLayer::make(test::OpenLayer::kChunks + 1, test::OpenLayer::kBlocks);
  boot_.tables[0] = other.parse_table();
  boot_.head.hot.push_back({.layer = 0, .chunk = test::OpenLayer::kChunks});
  auto& download = begin();
  line_.send(front_);
  ASSERT_TRUE(download.take(kFront, in_time()));

  EXPECT_EQ(download.unpack(boot_, {layer_}).error().code, Code::kInvalid);
  EXPECT_EQ(start_read(5).get().value(), expected(5)) << "nobody waits for the pack";
}

TEST_F(NodeBootDownload, RefusesAHotPackThatTheDiskHasNoRoomFor) {
  budget_.measured(uint64_t{100} << 30, (uint64_t{512} << 20) + test::OpenLayer::kChunkBytes, 0);
  auto& download = begin();
  line_.send(front_);
  ASSERT_TRUE(download.take(kFront, in_time()));

  EXPECT_EQ(download.unpack(boot_, {layer_}).error().code, Code::kExhausted);
}

}  // namespace
}  // namespace runnel::node
