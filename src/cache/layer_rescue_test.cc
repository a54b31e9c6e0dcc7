#include <fcntl.h>
#include <gtest/gtest.h>

#include <cerrno>
#include <future>

#include "base/durable.h"
#include "base/fd.h"
#include "cache/fault.h"
#include "cache/layer.h"
#include "support/fake_range_source.h"
#include "support/sample_layer.h"
#include "support/skipping_clock.h"
#include "support/tar_builder.h"
#include "support/temp_dir.h"

namespace runnel::cache {
namespace {

using fetch::Priority;
using std::chrono::milliseconds;
using std::chrono::seconds;
using test::FakeRangeSource;
using test::SampleLayer;

constexpr uint32_t kChunks = 300;  // more than the original is read ahead
constexpr uint32_t kBlocks = 4;
constexpr uint64_t kChunkBytes = kBlocks * artifact::kBlockSize;

const Error kGone(Code::kNotFound, "404");

// A layer, its blob, and the layer that it was made from.
class LayerRescue : public testing::Test {
 protected:
  LayerRescue() { open(); }
  ~LayerRescue() override {
    set_faults({});
    stop();
  }

  void open() {
    verify_ = std::make_unique<WorkerPool>(1);
    write_ = std::make_unique<WorkerPool>(1);
    rescue_ = std::make_unique<RescueQueue>(1);
    source_ = std::make_shared<FakeRangeSource>(sample_.blob);
    original_ = std::make_shared<FakeRangeSource>(tar_);
    layer_ = Layer::open(directory_storage(directory_.path()), sample_.parse_table(), source_,
                         {.verify = *verify_,
                          .write = *write_,
                          .rescue = *rescue_,
                          .clock = clock_,
                          .kept_bytes = kept_bytes_,
                          .budget = budget_})
                 .value();
    layer_->add_original({.name = "registry/app",
                          .digest = oci::Digest::of(tar_),
                          .diff_id = oci::Digest::of(tar_),
                          .source = original_});
  }
  void stop() {
    source_->shutdown();
    original_->shutdown();
    verify_.reset();
    write_.reset();
    rescue_.reset();
    layer_.reset();
  }

  static Buffer tar_of(const SampleLayer& sample) {
    return test::TarBuilder().file("f", as_text(sample.device)).end().bytes();
  }

  std::future<Result<Buffer>> start_read(uint64_t offset, uint64_t length,
                                         Duration patience = seconds(20)) {
    auto promise = std::make_shared<std::promise<Result<Buffer>>>();
    auto future = promise->get_future();
    layer_->read(offset, length, Priority::kDemand, clock_.now() + patience,
                 [promise](Result<Buffer> bytes) { promise->set_value(std::move(bytes)); });
    return future;
  }
  // What the read ends with, while the layer is told that the time is `ahead` of the clock.
  Result<Buffer> wait(std::future<Result<Buffer>> read, Duration ahead = Duration::zero()) {
    while (read.wait_for(milliseconds(1)) != std::future_status::ready) {
      layer_->expire(clock_.now() + ahead);
    }
    return read.get();
  }
  // Until what has arrived was looked at, and what it asks for is in the rescues' queue.
  void settle_arrivals() {
    std::promise<void> reached;
    verify_->submit([&] { reached.set_value(); });
    reached.get_future().wait();
  }
  // Until whatever was begun over the original has ended.
  void settle_rescue() {
    settle_arrivals();
    std::promise<void> rescued;
    rescue_->submit(for_nobody([&] { rescued.set_value(); }));
    rescued.get_future().wait();
  }
  // What has its turn when no reader waits for anything else.
  static RescueQueue::Job for_nobody(std::function<void()> run) {
    return {.registry = "none",
            .deadline = [] { return std::optional<SteadyTime>(); },
            .run = std::move(run)};
  }
  void wait_for(auto condition, Duration ahead = Duration::zero()) {
    const auto deadline = clock_.now() + seconds(20);
    while (!condition()) {
      ASSERT_LT(clock_.now(), deadline);
      layer_->expire(clock_.now() + ahead);
      std::this_thread::yield();
    }
  }
  Buffer expected(uint64_t offset, uint64_t length) const {
    const auto view = Bytes(sample_.device).subspan(offset, length);
    return {view.begin(), view.end()};
  }

  test::TempDir directory_;
  test::SkippingClock clock_;
  Budget budget_{Limits{}};
  std::atomic<uint64_t> kept_bytes_ = 0;
  const SampleLayer sample_ = SampleLayer::make(kChunks, kBlocks);
  const Buffer tar_ = tar_of(sample_);
  std::unique_ptr<WorkerPool> verify_;
  std::unique_ptr<WorkerPool> write_;
  std::unique_ptr<RescueQueue> rescue_;
  std::shared_ptr<FakeRangeSource> source_;
  std::shared_ptr<FakeRangeSource> original_;
  std::shared_ptr<Layer> layer_;
};

TEST_F(LayerRescue, KeepsAllHoweverMuchOthersHaveInMemory) {
  kept_bytes_ += Layer::kMostKept;
  source_->fail(kGone);

  EXPECT_EQ(wait(start_read(100, kChunkBytes)).value(), expected(100, kChunkBytes));
  settle_rescue();

  EXPECT_EQ(layer_->stats().bytes_present, layer_->size());
  EXPECT_EQ(layer_->stats().rescues, 1u);
  kept_bytes_ -= Layer::kMostKept;
}

TEST_F(LayerRescue, MakesALayerWholeWhoseBlobIsGone) {
  for (const auto code : {Code::kNotFound, Code::kDenied, Code::kInvalid, Code::kUnsupported}) {
    source_->fail(Error(code, "no"));

    EXPECT_EQ(wait(start_read(100, 2 * kChunkBytes)).value(), expected(100, 2 * kChunkBytes));

    settle_rescue();
    EXPECT_EQ(layer_->stats().bytes_present, layer_->size());
    EXPECT_EQ(layer_->stats().bytes_restored, layer_->size());
    EXPECT_EQ(layer_->stats().bytes_fetched, tar_.size());
    EXPECT_EQ(layer_->stats().rescues, 1u);
    EXPECT_EQ(layer_->stats().failed_reads, 0u);
    const auto asked = source_->reads().size();
    EXPECT_EQ(wait(start_read(0, layer_->size())).value(), sample_.device);
    EXPECT_EQ(source_->reads().size(), asked) << "it is all here";
    ASSERT_TRUE(layer_->sync());
    EXPECT_TRUE(layer_->complete());
    stop();
    ASSERT_EQ(::unlink((directory_.path() + "/validity").c_str()), 0);
    open();
  }
}

const Error kRefused(Code::kDenied, "401");

// The readers have an hour; the test has less.
TEST_F(LayerRescue, WaitsForNobodyWhenBothAreRefusedForWantOfCredentials) {
  source_->fail(kRefused);
  original_->fail(kRefused);

  for (int i = 0; i < 3; ++i) {
    const auto read = wait(start_read(0, 10, std::chrono::hours(1)));

    ASSERT_FALSE(read);
    EXPECT_EQ(read.error().code, Code::kDenied);
  }
  source_->succeed();
  EXPECT_EQ(wait(start_read(0, 10)).value(), expected(0, 10));
}

// Its readers would have their error at once.
TEST_F(LayerRescue, AsksAgainWhenTheOriginalIsRefusedOnce) {
  source_->fail(kRefused);
  original_->fail(kRefused, 4);  // the reads of one attempt

  EXPECT_EQ(wait(start_read(0, 10)).value(), expected(0, 10));

  settle_rescue();
  EXPECT_EQ(layer_->stats().rescues, 1u);
  EXPECT_EQ(layer_->stats().failed_reads, 0u);
}

TEST_F(LayerRescue, ReadsFromTheOriginalOnceThereIsACredentialForIt) {
  source_->fail(kRefused);
  original_->fail(kRefused);
  ASSERT_FALSE(wait(start_read(0, 10, std::chrono::hours(1))));
  original_->succeed();

  layer_->credentials_changed();

  EXPECT_EQ(wait(start_read(0, 10)).value(), expected(0, 10));
}

// A repository that fails may be back in a second.
TEST_F(LayerRescue, WaitsWhileOneOfTheOriginalsMayComeBack) {
  const auto second = std::make_shared<FakeRangeSource>(tar_);
  second->fail(kGone, 1);
  layer_->add_original({.name = "registry/other",
                        .digest = oci::Digest::of(tar_),
                        .diff_id = oci::Digest::of(tar_),
                        .source = second});
  source_->fail(kRefused);
  original_->fail(kRefused);

  EXPECT_EQ(wait(start_read(0, 10)).value(), expected(0, 10));

  second->shutdown();
}

TEST(Rescue, RestsAfterARefusalUntilThereIsANewCredential) {
  const auto source = std::make_shared<FakeRangeSource>("");
  const auto digest = oci::Digest::of(Bytes());
  Rescue rescue;
  rescue.add({.name = "app", .digest = digest, .diff_id = digest, .source = source});
  const SteadyTime now{std::chrono::hours(1)};
  const auto begins = [&] {
    rescue.want(Rescue::Cause::kLoss, true);
    return rescue.begin(now);
  };
  for (const auto& error : {kRefused, kGone}) {
    ASSERT_TRUE(begins());
    rescue.ended(std::unexpected(error), now);
    EXPECT_FALSE(begins());

    rescue.credentials_changed();

    EXPECT_EQ(begins(), error == kRefused) << "a registry that fails rests on";
    if (rescue.running()) rescue.ended({}, now - std::chrono::minutes(1));
  }
}

TEST(Rescue, RestsForAMinuteAtMostAndForAQuarterOfThatWhenAReaderWaits) {
  const auto source = std::make_shared<FakeRangeSource>("");
  const auto digest = oci::Digest::of(Bytes());
  for (const auto& [waited_for, rest] : {std::pair(true, seconds(15)), {false, seconds(60)}}) {
    Rescue rescue;
    rescue.add({.name = "app", .digest = digest, .diff_id = digest, .source = source});
    SteadyTime now{std::chrono::hours(1)};
    for (int i = 0; i < 12; ++i) {
      now += seconds(60);
      rescue.want(Rescue::Cause::kLoss, waited_for);
      ASSERT_TRUE(rescue.begin(now));
      rescue.ended(std::unexpected(kGone), now);
    }

    rescue.want(Rescue::Cause::kLoss, waited_for);
    EXPECT_FALSE(rescue.begin(now + rest - milliseconds(1)));
    EXPECT_TRUE(rescue.begin(now + rest));
  }
}

TEST(Rescue, BreaksARestForAReaderThatComesInTheMiddleOfIt) {
  const auto source = std::make_shared<FakeRangeSource>("");
  const auto digest = oci::Digest::of(Bytes());
  Rescue rescue;
  rescue.add({.name = "app", .digest = digest, .diff_id = digest, .source = source});
  SteadyTime now{std::chrono::hours(1)};
  for (int i = 0; i < 12; ++i) {
    now += seconds(60);
    rescue.want(Rescue::Cause::kLoss, false);
    ASSERT_TRUE(rescue.begin(now));
    rescue.ended(std::unexpected(kGone), now);
  }
  now += seconds(20);
  rescue.want(Rescue::Cause::kLoss, false);
  ASSERT_FALSE(rescue.begin(now));

  rescue.want(Rescue::Cause::kLoss, true);

  EXPECT_TRUE(rescue.begin(now));
}

TEST_F(LayerRescue, ReadsAChunkThatTheBlobHasWrong) {
  source_->corrupt();

  EXPECT_EQ(wait(start_read(5 * kChunkBytes, 10)).value(), expected(5 * kChunkBytes, 10));

  EXPECT_EQ(layer_->stats().corrupt_chunks, 3u);
}

TEST_F(LayerRescue, ServesReadersThatComeWhileItRuns) {
  source_->fail(kGone);
  original_->hold();
  auto first = start_read(0, 10);
  original_->wait_for_waiting(4);
  auto second = start_read(7, 10);
  auto last = start_read(layer_->size() - 10, 10);

  original_->release();

  EXPECT_EQ(wait(std::move(first)).value(), expected(0, 10));
  EXPECT_EQ(wait(std::move(second)).value(), expected(7, 10));
  EXPECT_EQ(wait(std::move(last)).value(), expected(layer_->size() - 10, 10));
  settle_rescue();
  EXPECT_EQ(layer_->stats().rescues, 1u);
}

// The background fill has lost a chunk, and others' fills theirs before.
TEST_F(LayerRescue, HasItsTurnBeforeThoseForNobodyWhenAReaderComes) {
  std::promise<void> go;
  rescue_->submit(for_nobody([&] { go.get_future().wait(); }));
  std::promise<uint64_t> restored;
  rescue_->submit(for_nobody([&] { restored.set_value(layer_->stats().bytes_restored); }));
  source_->fail(kGone);
  layer_->fill(true);
  wait_for([&] { return layer_->stats().rescues == 1; });
  settle_arrivals();

  auto read = start_read(0, 10);
  go.set_value();

  EXPECT_EQ(restored.get_future().get(), layer_->size());
  EXPECT_EQ(wait(std::move(read)).value(), expected(0, 10));
}

TEST_F(LayerRescue, TurnsToTheOriginalWhenTheBlobIsSilentTooLong) {
  source_->hold();
  auto read = start_read(0, 10);

  layer_->expire(clock_.now() + seconds(4));
  EXPECT_EQ(layer_->stats().rescues, 0u);
  EXPECT_EQ(wait(std::move(read), seconds(6)).value(), expected(0, 10));

  EXPECT_EQ(layer_->stats().rescues, 1u);
}

TEST_F(LayerRescue, LeavesTheOriginalAloneWhenTheBlobCanBeReadAgain) {
  source_->hold();
  original_->hold();
  auto read = start_read(0, 10);
  layer_->expire(clock_.now() + seconds(6));
  original_->wait_for_waiting(4);

  source_->release();
  EXPECT_EQ(wait(std::move(read)).value(), expected(0, 10));
  original_->release();
  settle_rescue();

  EXPECT_EQ(layer_->stats().bytes_restored, 0u);
  EXPECT_EQ(layer_->stats().rescue_error, "");
  EXPECT_LE(original_->reads().size(), 5u);
}

TEST_F(LayerRescue, FailsAReadAtItsDeadlineThoughTheNextAttemptIsBehindIt) {
  source_->fail(kGone);
  original_->fail(Error(Code::kNotFound, "the original is gone too"));
  const auto begin = clock_.now();

  const auto read = wait(start_read(0, 10, milliseconds(900)));

  ASSERT_FALSE(read);
  EXPECT_GE(clock_.now() - begin, milliseconds(900));
  EXPECT_NE(read.error().message.find("404"), std::string::npos) << read.error().message;
  EXPECT_NE(read.error().message.find("the original is gone too"), std::string::npos);
  EXPECT_EQ(layer_->stats().failed_reads, 1u);
  EXPECT_NE(layer_->stats().rescue_error, "");
}

TEST_F(LayerRescue, TriesBothAgainAfterARest) {
  source_->fail(kGone);
  original_->fail(kGone, 4);  // the reads of one attempt
  auto read = start_read(0, 10);
  wait_for([&] { return layer_->stats().rescue_error != ""; });
  wait_for([&] { return source_->reads().size() == 2; });
  settle_rescue();
  EXPECT_EQ(layer_->stats().rescues, 1u) << "not before a second is over";

  EXPECT_EQ(wait(std::move(read), seconds(2)).value(), expected(0, 10));

  EXPECT_EQ(layer_->stats().rescues, 2u);
}

TEST_F(LayerRescue, TakesTheBlobWhenItIsBackWhileTheOriginalIsGivenARest) {
  source_->fail(kGone, 3);
  original_->fail(kGone);
  auto read = start_read(0, 10, seconds(60));
  wait_for([&] { return layer_->stats().rescues == 1 && layer_->stats().rescue_error != ""; });
  // The second attempt at the original fails too, and the rest grows to two seconds.
  wait_for([&] { return layer_->stats().rescues == 2; }, seconds(2));
  wait_for([&] { return source_->reads().size() >= 3; });
  settle_rescue();

  EXPECT_EQ(wait(std::move(read), seconds(3)).value(), expected(0, 10));
}

TEST_F(LayerRescue, AReadThatComesInALongRestWaitsForTheBlob) {
  source_->fail(kGone);
  original_->fail(kGone);
  auto first = start_read(0, 10, std::chrono::hours(1));
  wait_for([&] { return layer_->stats().rescues == 6; }, seconds(30));
  settle_rescue();
  const auto asked = source_->reads().size();
  auto read = start_read(kChunkBytes, 10, seconds(10));  // the rest is longer
  wait_for([&] { return source_->reads().size() > asked; });
  settle_rescue();
  EXPECT_EQ(layer_->stats().failed_reads, 0u);

  source_->succeed();

  EXPECT_EQ(wait(std::move(read), seconds(3)).value(), expected(kChunkBytes, 10));
  EXPECT_EQ(wait(std::move(first), seconds(3)).value(), expected(0, 10));
}

TEST_F(LayerRescue, AsksTheBlobAgainWhileTheOriginalStalls) {
  source_->fail(kGone, 1);
  original_->hold();
  auto read = start_read(0, 10, seconds(60));
  original_->wait_for_waiting(4);

  layer_->expire(clock_.now() + seconds(1));
  EXPECT_EQ(source_->reads().size(), 1u);
  EXPECT_EQ(wait(std::move(read), seconds(3)).value(), expected(0, 10));

  original_->release();
}

// Credentials that were refused an hour ago may do now, and the blob is refused by mistake.
TEST_F(LayerRescue, BelievesNoRefusalOfLongAgo) {
  source_->fail(kRefused);
  original_->fail(kRefused);
  ASSERT_FALSE(wait(start_read(0, 10)));
  original_->succeed();

  clock_.skip(std::chrono::hours(1));

  EXPECT_EQ(wait(start_read(0, 10)).value(), expected(0, 10));
}

TEST_F(LayerRescue, TakesTheBlobWhenItIsBackBeforeTheOriginal) {
  source_->fail(kGone, 1);
  original_->fail(kGone);

  EXPECT_EQ(wait(start_read(0, 10)).value(), expected(0, 10));

  EXPECT_EQ(layer_->stats().rescues, 1u);
  EXPECT_EQ(source_->reads().size(), 2u);
}

TEST_F(LayerRescue, NeverShowsAByteOfAnotherLayer) {
  const auto other = tar_of(SampleLayer::make(kChunks, kBlocks, 2));
  stop();
  auto made_up = std::make_shared<FakeRangeSource>(other);
  open();
  source_->fail(kGone);
  original_->fail(kGone);
  layer_->add_original({.name = "registry/other",
                        .digest = oci::Digest::of(tar_),
                        .diff_id = oci::Digest::of(tar_),
                        .source = made_up});

  const auto read = wait(start_read(0, 10, milliseconds(900)));

  ASSERT_FALSE(read);
  EXPECT_NE(read.error().message.find("chunk 0 made from it is not"), std::string::npos);
  EXPECT_EQ(layer_->stats().bytes_present, 0u);
  made_up->shutdown();
}

TEST_F(LayerRescue, AsksEveryRepositoryThatHasTheLayer) {
  const auto elsewhere = std::make_shared<FakeRangeSource>(tar_);
  for (const char* name : {"registry/app", "registry/elsewhere", "registry/elsewhere"}) {
    layer_->add_original({.name = name,
                          .digest = oci::Digest::of(tar_),
                          .diff_id = oci::Digest::of(tar_),
                          .source = elsewhere});
  }
  source_->fail(kGone);
  original_->fail(kGone);

  EXPECT_EQ(wait(start_read(0, 10)).value(), expected(0, 10));

  settle_rescue();
  EXPECT_EQ(layer_->stats().rescues, 1u);
  elsewhere->shutdown();
}

TEST_F(LayerRescue, ReadsThroughTheOriginalWhileTheDiskIsFull) {
  source_->fail(kGone);
  set_faults([](std::string_view point) { return point == "write" ? ENOSPC : 0; });

  EXPECT_EQ(wait(start_read(0, 10)).value(), expected(0, 10));
  settle_rescue();
  EXPECT_EQ(layer_->stats().bytes_present, 0u);
  EXPECT_EQ(wait(start_read(kChunkBytes, 10), seconds(2)).value(), expected(kChunkBytes, 10));

  settle_rescue();
  EXPECT_EQ(kept_bytes_, 0u);
}

TEST_F(LayerRescue, KeepsWhatIsGoodAndReplacesWhatIsNotAfterAnUncleanStop) {
  EXPECT_EQ(wait(start_read(0, 3 * kChunkBytes)).value(), expected(0, 3 * kChunkBytes));
  wait_for([&] { return layer_->stats().bytes_present == 3 * kChunkBytes; });
  ASSERT_TRUE(layer_->sync());
  stop();
  {
    const auto file = open_file(directory_.path() + "/device", O_RDWR).value();
    ASSERT_TRUE(write_all_at(file.get(), as_bytes("damage"), kChunkBytes + 100));
  }
  open();
  source_->fail(kGone);

  EXPECT_EQ(wait(start_read(5 * kChunkBytes, 10)).value(), expected(5 * kChunkBytes, 10));

  settle_rescue();
  EXPECT_EQ(layer_->stats().bytes_present, layer_->size());
  EXPECT_EQ(layer_->stats().bytes_restored, layer_->size() - 2 * kChunkBytes);
  EXPECT_EQ(wait(start_read(0, layer_->size())).value(), sample_.device);
}

TEST_F(LayerRescue, CompletesALayerThatNobodyReads) {
  source_->fail(kGone);

  layer_->fill(true);

  wait_for([&] { return layer_->stats().bytes_present == layer_->size(); });
  EXPECT_EQ(layer_->stats().bytes_restored, layer_->size());
}

TEST_F(LayerRescue, WithoutAnOriginalALostChunkIsAnErrorAtOnce) {
  stop();
  test::TempDir other;
  verify_ = std::make_unique<WorkerPool>(1);
  write_ = std::make_unique<WorkerPool>(1);
  rescue_ = std::make_unique<RescueQueue>(1);
  source_ = std::make_shared<FakeRangeSource>(sample_.blob);
  layer_ = Layer::open(directory_storage(other.path()), sample_.parse_table(), source_,
                       {.verify = *verify_,
                        .write = *write_,
                        .rescue = *rescue_,
                        .clock = clock_,
                        .kept_bytes = kept_bytes_,
                        .budget = budget_})
               .value();
  source_->fail(kGone);

  EXPECT_FALSE(start_read(0, 10).get());
  EXPECT_EQ(layer_->stats().rescues, 0u);
}

}  // namespace
}  // namespace runnel::cache
