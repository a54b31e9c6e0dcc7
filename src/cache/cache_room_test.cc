// The cache on a disk whose size the test decides.
#include <gtest/gtest.h>

#include <atomic>
#include <cerrno>
#include <filesystem>
#include <future>
#include <thread>

#include "base/durable.h"
#include "cache/cache.h"
#include "cache/fault.h"
#include "support/fake_clock.h"
#include "support/fake_range_source.h"
#include "support/sample_layer.h"
#include "support/temp_dir.h"

namespace runnel::cache {
namespace {

using test::FakeRangeSource;
using test::SampleLayer;

constexpr uint32_t kChunks = 4;
constexpr uint32_t kBlocks = 8;
constexpr uint64_t kLayerBytes = kChunks * kBlocks * artifact::kBlockSize;
constexpr uint64_t kPlenty = uint64_t{1} << 40;
constexpr uint64_t kMinFree = uint64_t{1} << 30;
constexpr uint64_t kReserve = uint64_t{1} << 20;

class CacheRoom : public testing::Test {
 protected:
  CacheRoom() {
    // The fake sources go by the real clock.
    clock_.advance(std::chrono::steady_clock::now().time_since_epoch() + std::chrono::hours(1));
    for (unsigned seed = 1; seed <= 3; ++seed) {
      samples_.push_back(SampleLayer::make(kChunks, kBlocks, seed));
    }
    open();
  }
  ~CacheRoom() override { close(); }

  void open() {
    open_only();
    cache_->begin();
  }
  void open_only() {
    Cache::Options options;
    options.background_fill = true;
    options.limits = {.max_bytes = kPlenty, .min_free = kMinFree, .reserve = kReserve};
    options.measure = [this](const std::string&) -> Result<Cache::Disk> {
      ++measured_;
      return Cache::Disk{.bytes = kPlenty, .free = free_};
    };
    cache_ = Cache::open(root_.path(), options, clock_).value();
    for (const auto& sample : samples_) {
      sources_.push_back(std::make_shared<FakeRangeSource>(sample.blob));
    }
  }
  void close() {
    for (const auto& source : sources_) source->shutdown();
    cache_.reset();
    sources_.clear();
  }

  std::shared_ptr<Layer> add(size_t i) {
    clock_.advance(std::chrono::seconds(1));
    return cache_->layer(samples_[i].digest(), samples_[i].parse_table(), sources_[i]).value();
  }
  void add_and_read(size_t i) {
    const auto layer = add(i);
    ASSERT_EQ(read(*layer).value(), samples_[i].device);
    // Written, and so allocated.
    while (layer->stats().bytes_present < layer->size()) cache_->tend_once();
    cache_->tend_once();
  }
  Result<Buffer> read(Layer& layer) {
    std::promise<Result<Buffer>> promise;
    layer.read(0, layer.size(), fetch::Priority::kDemand, clock_.now() + std::chrono::seconds(20),
               [&](Result<Buffer> bytes) { promise.set_value(std::move(bytes)); });
    return promise.get_future().get();
  }
  bool on_disk(size_t i) const {
    return std::filesystem::exists(root_.path() + "/cache/" +
                                   std::string(samples_[i].digest().hex()));
  }
  void grow_old() { clock_.advance(std::chrono::minutes(5)); }
  void set_free(uint64_t free) {
    free_ = free;
    cache_->tend_once();
  }

  test::TempDir root_;
  test::FakeClock clock_;
  std::atomic<uint64_t> free_ = kPlenty;
  std::atomic<int> measured_ = 0;
  std::vector<SampleLayer> samples_;
  std::vector<std::shared_ptr<FakeRangeSource>> sources_;
  std::unique_ptr<Cache> cache_;
};

TEST_F(CacheRoom, GivesBackTheLeastRecentlyUsedFirst) {
  for (size_t i = 0; i < 3; ++i) add_and_read(i);
  grow_old();
  cache_->pin("mount", {samples_[0].digest()});
  cache_->unpin("mount");

  set_free(kMinFree - kLayerBytes / 2);

  EXPECT_TRUE(on_disk(0));
  EXPECT_FALSE(on_disk(1));
  EXPECT_TRUE(on_disk(2));
  EXPECT_EQ(cache_->find(samples_[1].digest()), nullptr);
}

TEST_F(CacheRoom, KnowsWhatWasInUseWhenTheMachineStopped) {
  add_and_read(0);
  cache_->pin("mount", {samples_[0].digest()});
  clock_.advance(std::chrono::hours(24));
  for (size_t i = 1; i < 3; ++i) add_and_read(i);
  cache_->pin("mount", {samples_[0].digest()});  // for one more container

  close();
  open();
  set_free(kMinFree - kLayerBytes / 2);

  EXPECT_TRUE(on_disk(0));
  EXPECT_FALSE(on_disk(1));
  EXPECT_TRUE(on_disk(2));
}

TEST_F(CacheRoom, GivesBackAsMuchAsIsMissing) {
  for (size_t i = 0; i < 3; ++i) add_and_read(i);
  grow_old();

  set_free(kMinFree - 1);

  EXPECT_EQ(on_disk(0) + on_disk(1) + on_disk(2), 2);
}

TEST_F(CacheRoom, KeepsAllOfItForAMountOfWhichNobodyKnowsWhatItHas) {
  for (size_t i = 0; i < 2; ++i) add_and_read(i);
  close();
  open();
  cache_->pin_all("mount");
  grow_old();

  set_free(kMinFree - kLayerBytes / 2);
  EXPECT_TRUE(on_disk(0) && on_disk(1));

  cache_->unpin("mount");
  grow_old();
  set_free(kMinFree - kLayerBytes / 2);
  EXPECT_EQ(on_disk(0) + on_disk(1), 1);
}

TEST_F(CacheRoom, AsksForWhatIsMountedForNobodyWhenNothingElseMayGo) {
  for (size_t i = 0; i < 2; ++i) add_and_read(i);
  grow_old();
  cache_->pin("idle", {samples_[0].digest()});
  int asked = 0;
  cache_->on_short_of_room([&] {
    if (++asked == 1) cache_->unpin("idle");
    return asked == 1;
  });

  set_free(kMinFree - kLayerBytes / 2);
  EXPECT_EQ(asked, 0);
  EXPECT_FALSE(on_disk(1));
  set_free(kMinFree - kLayerBytes / 2);

  EXPECT_EQ(asked, 1);
  EXPECT_FALSE(on_disk(0));
  set_free(kMinFree - kLayerBytes / 2);
  EXPECT_EQ(asked, 2);  // and no third time for this second
}

TEST_F(CacheRoom, NeverDeletesWhatIsMounted) {
  std::vector<oci::Digest> all;
  for (size_t i = 0; i < 3; ++i) {
    add_and_read(i);
    all.push_back(samples_[i].digest());
  }
  cache_->pin("one", all);
  cache_->pin("two", {all[1]});
  grow_old();

  set_free(1);
  cache_->unpin("one");
  grow_old();
  cache_->tend_once();

  EXPECT_FALSE(on_disk(0));
  EXPECT_TRUE(on_disk(1));
  EXPECT_FALSE(on_disk(2));
  ASSERT_TRUE(cache_->clear());
  EXPECT_TRUE(on_disk(1));
}

// A worker that starts needs some seconds until it has pinned what earlier ones had mounted.
TEST_F(CacheRoom, DeletesNothingBeforeItBegins) {
  for (size_t i = 0; i < 2; ++i) add_and_read(i);
  close();
  free_ = 1;
  measured_ = 0;
  open_only();
  // A round of the background thread has its chance.
  std::this_thread::sleep_for(std::chrono::milliseconds(1500));
  EXPECT_EQ(measured_, 1) << "and by nobody but open()";
  EXPECT_TRUE(on_disk(1));

  cache_->pin("mount", {samples_[0].digest()});
  cache_->begin();

  EXPECT_TRUE(on_disk(0));
  EXPECT_FALSE(on_disk(1)) << "the disk is full";
}

TEST_F(CacheRoom, LeavesWhatWasJustOpenedForWhoeverIsAboutToMountIt) {
  add_and_read(0);

  set_free(1);
  EXPECT_TRUE(on_disk(0));

  grow_old();
  cache_->tend_once();
  EXPECT_FALSE(on_disk(0));
}

TEST_F(CacheRoom, FreesAtOnceWhatNobodyNeedsWhenTheDiskIsShort) {
  add_and_read(0);
  add_and_read(1);
  std::vector<oci::Digest> removed;
  cache_->on_removed([&](const oci::Digest& digest, const std::shared_ptr<Layer>& layer) {
    EXPECT_NE(layer, nullptr);
    removed.push_back(digest);
  });
  free_ = kMinFree - 1;

  cache_->release({samples_[1].digest()});

  EXPECT_FALSE(on_disk(1));
  EXPECT_EQ(removed, std::vector{samples_[1].digest()});
}

TEST_F(CacheRoom, TellsNobodyOfADeletionWhoDoesNotWantToHearAnyMore) {
  add_and_read(0);
  std::promise<void> told;
  std::promise<void> go;
  std::atomic<bool> over = false;
  cache_->on_removed([&](const oci::Digest&, const std::shared_ptr<Layer>&) {
    told.set_value();
    go.get_future().wait();
    over = true;
  });
  auto clearing = std::async([&] { return cache_->clear(); });
  told.get_future().wait();

  auto ended = std::async([&] {
    cache_->on_removed({});
    return over.load();
  });
  // It has its chance to return too early.
  EXPECT_EQ(ended.wait_for(std::chrono::milliseconds(100)), std::future_status::timeout);
  go.set_value();

  EXPECT_TRUE(ended.get()) << "who was told may go now";
  EXPECT_TRUE(clearing.get());
}

TEST_F(CacheRoom, KeepsWhatIsAskedForAgainAfterNobodyNeededIt) {
  add_and_read(0);
  cache_->release({samples_[0].digest()});
  const auto layer = add(0);

  set_free(kMinFree - 1);

  EXPECT_TRUE(on_disk(0));
  EXPECT_EQ(cache_->find(samples_[0].digest()), layer);
}

TEST_F(CacheRoom, KeepsWhatNobodyNeedsWhileThereIsRoom) {
  add_and_read(0);

  cache_->release({samples_[0].digest()});

  EXPECT_TRUE(on_disk(0));
}

TEST_F(CacheRoom, FillsOnlyWhatIsMountedAndOnlyWhileThereIsRoom) {
  const auto mounted = add(0);
  const auto other = add(1);
  set_free(kMinFree - 1);
  cache_->pin("mount", {samples_[0].digest()});
  cache_->tend_once();
  EXPECT_TRUE(sources_[0]->reads().empty());

  free_ = kPlenty;
  while (!mounted->complete()) cache_->tend_once();

  EXPECT_TRUE(sources_[1]->reads().empty());
}

TEST_F(CacheRoom, KeepsWhatIsReadWhileFillingRests) {
  cache_->pin("mount", {samples_[0].digest()});
  set_free(kMinFree - 1);

  add_and_read(0);

  EXPECT_EQ(cache_->status().state, Budget::State::kNoFilling);
}

TEST_F(CacheRoom, RefusesReadsAtTheReserveAndRecovers) {
  cache_->pin("mount", {samples_[0].digest(), samples_[1].digest()});
  add_and_read(0);
  const auto missing = add(1);
  set_free(kReserve);

  const auto refused = read(*missing);

  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().code, Code::kExhausted);
  EXPECT_NE(refused.error().message.find("DiskFull"), std::string::npos);
  EXPECT_TRUE(sources_[1]->reads().empty());
  EXPECT_EQ(cache_->status().state, Budget::State::kFull);
  EXPECT_GT(cache_->status().refused, 0u);
  EXPECT_EQ(read(*cache_->find(samples_[0].digest())).value(), samples_[0].device);

  set_free(kPlenty);
  EXPECT_EQ(read(*missing).value(), samples_[1].device);
}

TEST_F(CacheRoom, RefusesFramesThatNobodyWaitsForAtTheReserve) {
  const auto layer = add(0);
  set_free(kReserve);
  const auto chunk = layer->table().at(0);

  const auto outcome =
      layer->insert(0, Bytes(samples_[0].blob).subspan(chunk.blob_offset, chunk.stored_size));

  EXPECT_EQ(outcome.error().code, Code::kExhausted);
}

TEST_F(CacheRoom, RemembersTheOrderOfUseOverARestart) {
  for (size_t i = 0; i < 3; ++i) add_and_read(i);
  for (const size_t i : {2, 0, 1}) {
    clock_.advance(std::chrono::seconds(1));
    cache_->pin("mount", {samples_[i].digest()});
    cache_->unpin("mount");
  }
  close();
  open();

  set_free(kMinFree - 1);

  EXPECT_TRUE(on_disk(0));
  EXPECT_TRUE(on_disk(1));
  EXPECT_FALSE(on_disk(2));
}

// What is forgotten is never chosen again, and counts for nothing.
TEST_F(CacheRoom, KeepsKnowingWhatItCannotDelete) {
  close();
  std::atomic<int> error = EIO;
  set_faults([&](std::string_view point) { return point == "delete-layer" ? error.load() : 0; });
  open();
  for (size_t i = 0; i < 2; ++i) add_and_read(i);
  const auto used = cache_->status().used;
  const auto layer = cache_->find(samples_[0].digest());
  grow_old();
  set_free(kMinFree - 1);

  EXPECT_FALSE(cache_->clear()) << "and it has tried both";

  EXPECT_EQ(cache_->status().used, used);
  EXPECT_EQ(cache_->find(samples_[0].digest()), layer);
  error = 0;
  cache_->tend_once();
  EXPECT_TRUE(on_disk(0)) << "it has just been tried";
  EXPECT_TRUE(on_disk(1));
  grow_old();
  cache_->tend_once();
  EXPECT_FALSE(on_disk(0));
  close();
  set_faults({});
}

TEST_F(CacheRoom, DeletesALayerOfWhichAnEarlierDeletionHasLeftSomething) {
  add_and_read(0);
  const auto left =
      root_.path() + "/cache/" + std::string(samples_[0].digest().hex()) + ".gone/left";
  std::filesystem::create_directories(left);

  ASSERT_TRUE(cache_->clear());

  EXPECT_FALSE(on_disk(0));
  close();
  open();
  EXPECT_FALSE(std::filesystem::exists(left));
}

TEST_F(CacheRoom, FinishesAnInterruptedDeletion) {
  add_and_read(0);
  close();
  const auto path = root_.path() + "/cache/" + std::string(samples_[0].digest().hex());
  std::filesystem::rename(path, path + ".gone");
  std::filesystem::remove(path + ".gone/device");

  open();

  EXPECT_FALSE(std::filesystem::exists(path + ".gone"));
  EXPECT_EQ(add(0)->stats().bytes_present, 0u);
}

TEST_F(CacheRoom, BelievesNoBitsWhenTheDataWasTakenAway) {
  add_and_read(0);
  close();
  std::filesystem::remove(root_.path() + "/cache/" + std::string(samples_[0].digest().hex()) +
                          "/device");
  open();

  const auto layer = add(0);

  EXPECT_FALSE(layer->complete());
  EXPECT_EQ(read(*layer).value(), samples_[0].device);
}

}  // namespace
}  // namespace runnel::cache
