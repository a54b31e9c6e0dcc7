#include "cache/scrubber.h"

#include <fcntl.h>
#include <gtest/gtest.h>

#include <atomic>
#include <future>
#include <thread>

#include "base/fd.h"
#include "cache/cache.h"
#include "support/fake_range_source.h"
#include "support/sample_layer.h"
#include "support/temp_dir.h"

namespace runnel::cache {
namespace {

using test::FakeRangeSource;
using test::SampleLayer;

constexpr uint32_t kChunks = 8;
constexpr uint32_t kBlocks = 4;
constexpr uint64_t kChunkBytes = kBlocks * artifact::kBlockSize;
const SystemClock kClock;

TEST(ScrubRate, IsAWeekForALargeCacheAndNeverSlow) {
  const ScrubOptions options;

  EXPECT_EQ(scrub_rate(options, 10 << 20), 1u << 20);
  EXPECT_EQ(scrub_rate(options, uint64_t{7} * 24 * 3600 * (5 << 20)), 5u << 20);
}

class CacheScrub : public testing::Test {
 protected:
  void open(const ScrubOptions& scrub) {
    Cache::Options options;
    options.background_fill = false;
    options.scrub = scrub;
    cache_ = Cache::open(root_.path(), options, kClock).value();
    cache_->begin();
    source_ = std::make_shared<FakeRangeSource>(sample_.blob);
    layer_ = cache_->layer(sample_.digest(), sample_.parse_table(), source_).value();
  }
  void TearDown() override { close(); }
  void close() {
    if (source_) source_->shutdown();
    layer_.reset();
    cache_.reset();
  }

  Buffer read_all() {
    std::promise<Result<Buffer>> promise;
    layer_->read(0, layer_->size(), fetch::Priority::kDemand,
                 kClock.now() + std::chrono::seconds(20),
                 [&](Result<Buffer> bytes) { promise.set_value(std::move(bytes)); });
    return promise.get_future().get().value();
  }
  void make_complete() {
    read_all();
    while (!layer_->complete()) cache_->tend_once();
  }
  // Flips a byte behind the cache's back.
  void damage(uint32_t chunk) {
    const auto file = open_file(layer_->device_path(), O_RDWR).value();
    std::byte byte = sample_.device[chunk * kChunkBytes + 5] ^ std::byte{1};
    ASSERT_TRUE(write_all_at(file.get(), Bytes(&byte, 1), chunk * kChunkBytes + 5));
  }
  Buffer file() const {
    Buffer bytes(layer_->size());
    const auto fd = open_file(layer_->device_path(), O_RDONLY).value();
    EXPECT_TRUE(read_exact_at(fd.get(), bytes, 0));
    return bytes;
  }
  void scrub_all() {
    for (uint32_t chunk = 0; chunk < kChunks; ++chunk) layer_->scrub(chunk);
  }

  static constexpr ScrubOptions kOff{.least_rate = 0};
  test::TempDir root_;
  const SampleLayer sample_ = SampleLayer::make(kChunks, kBlocks);
  std::shared_ptr<FakeRangeSource> source_;
  std::unique_ptr<Cache> cache_;
  std::shared_ptr<Layer> layer_;
};

TEST_F(CacheScrub, FindsNothingOnAGoodDisk) {
  open(kOff);
  make_complete();
  const auto reads = source_->reads().size();

  scrub_all();

  EXPECT_EQ(cache_->scrub_status().bytes, layer_->size());
  EXPECT_EQ(cache_->scrub_status().damaged, 0u);
  EXPECT_EQ(source_->reads().size(), reads);
  EXPECT_TRUE(layer_->complete());
}

TEST_F(CacheScrub, RepairsADamagedChunkInItsPlace) {
  open(kOff);
  make_complete();
  damage(3);
  ASSERT_NE(file(), sample_.device);

  scrub_all();
  while (!layer_->complete()) cache_->tend_once();

  EXPECT_EQ(file(), sample_.device);
  EXPECT_EQ(cache_->scrub_status().damaged, 1u);
  EXPECT_EQ(cache_->scrub_status().repaired, 1u);
}

TEST_F(CacheScrub, GivesRightBytesFromTheMomentItFoundDamage) {
  open(kOff);
  make_complete();
  damage(3);
  source_->hold();

  scrub_all();

  EXPECT_FALSE(layer_->complete());
  source_->release();
  EXPECT_EQ(read_all(), sample_.device);
}

TEST_F(CacheScrub, LeavesTheChunkAbsentWhenItCannotBeRepaired) {
  open(kOff);
  make_complete();
  damage(3);
  source_->fail(Error(Code::kNotFound, "the blob is gone"));

  scrub_all();
  close();
  open(kOff);

  EXPECT_EQ(layer_->stats().bytes_present, (kChunks - 1) * kChunkBytes);
  EXPECT_EQ(read_all(), sample_.device);
}

TEST_F(CacheScrub, ComesByOnItsOwn) {
  open({.least_rate = 1 << 30, .rest = std::chrono::milliseconds(1)});
  make_complete();
  damage(6);

  while (cache_->scrub_status().repaired == 0) cache_->tend_once();

  EXPECT_EQ(file(), sample_.device);
}

// Whether the layer's bytes are free again, with its descriptors closed, once it has been removed.
class RemovedDuringScrub : public CacheScrub {
 protected:
  bool goes() {
    const std::weak_ptr<Layer> removed = layer_;
    layer_.reset();
    EXPECT_TRUE(cache_->clear());
    const auto patience = kClock.now() + std::chrono::seconds(20);
    while (!removed.expired() && kClock.now() < patience) cache_->tend_once();
    return removed.expired();
  }
};

TEST_F(RemovedDuringScrub, GoesInTheMiddleOfAPass) {
  // One chunk, then hours until the next; and soon again, for a pass that came before there was
  // one.
  open({.least_rate = 1, .rest = std::chrono::milliseconds(1)});
  make_complete();
  while (cache_->scrub_status().bytes == 0) cache_->tend_once();

  EXPECT_TRUE(goes());
}

TEST_F(RemovedDuringScrub, GoesInTheRestBetweenTwoPasses) {
  open(kOff);
  make_complete();
  const std::weak_ptr<Layer> layer = layer_;
  std::atomic<int> asked = 0;
  const Scrubber scrubber({.least_rate = 1 << 30}, [&] {
    std::vector<std::shared_ptr<Layer>> layers;
    if (auto open = layer.lock()) layers.push_back(std::move(open));
    ++asked;
    return layers;
  });
  while (asked < 2) std::this_thread::yield();  // for the pass, and after it

  EXPECT_TRUE(goes());
}

}  // namespace
}  // namespace runnel::cache
