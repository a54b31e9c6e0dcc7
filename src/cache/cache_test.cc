#include "cache/cache.h"

#include <gtest/gtest.h>

#include <atomic>
#include <future>

#include "cache/closed_layers.h"
#include "cache/fault.h"
#include "support/fake_clock.h"
#include "support/fake_range_source.h"
#include "support/sample_layer.h"
#include "support/tar_builder.h"
#include "support/temp_dir.h"

namespace runnel::cache {
namespace {

using test::FakeRangeSource;
using test::SampleLayer;

const SystemClock kClock;
const Cache::Options kQuiet{.background_fill = false};

std::unique_ptr<Cache> open_cache(const test::TempDir& root, const Cache::Options& options = kQuiet,
                                  const Clock& clock = kClock) {
  auto cache = Cache::open(root.path(), options, clock).value();
  cache->begin();
  return cache;
}

Buffer read_all(Layer& layer) {
  std::promise<Result<Buffer>> promise;
  layer.read(0, layer.size(), fetch::Priority::kDemand, kClock.now() + std::chrono::seconds(20),
             [&](Result<Buffer> bytes) { promise.set_value(std::move(bytes)); });
  return promise.get_future().get().value();
}

TEST(Cache, HasOneUserAtATime) {
  const test::TempDir root;
  auto first = Cache::open(root.path(), kQuiet, kClock);
  ASSERT_TRUE(first);

  EXPECT_EQ(Cache::open(root.path(), kQuiet, kClock).error().code, Code::kConflict);

  first->reset();
  EXPECT_TRUE(Cache::open(root.path(), kQuiet, kClock));
}

TEST(Cache, KeepsLayersOverARestart) {
  const test::TempDir root;
  const auto sample = SampleLayer::make(4, 8);
  {
    auto cache = open_cache(root);
    auto source = std::make_shared<FakeRangeSource>(sample.blob);
    auto layer = cache->layer(sample.digest(), sample.parse_table(), source).value();
    EXPECT_EQ(cache->find(sample.digest()), layer);
    EXPECT_EQ(read_all(*layer), sample.device);
    source->shutdown();
  }

  auto cache = open_cache(root);
  EXPECT_EQ(cache->find(sample.digest()), nullptr);
  auto source = std::make_shared<FakeRangeSource>(sample.blob);
  auto layer = cache->layer(sample.digest(), sample.parse_table(), source).value();

  EXPECT_TRUE(layer->complete());
  EXPECT_EQ(read_all(*layer), sample.device);
  EXPECT_TRUE(source->reads().empty());
}

TEST(Cache, BelievesALayerAfterCleanStopsOfProcessesThatDidNotOpenIt) {
  const test::TempDir root;
  const auto sample = SampleLayer::make(4, 8);
  const auto open_layer = [&](Cache& cache) {
    auto source = std::make_shared<FakeRangeSource>(sample.blob);
    auto layer = cache.layer(sample.digest(), sample.parse_table(), source).value();
    source->shutdown();
    return layer;
  };
  {
    auto cache = open_cache(root);
    auto source = std::make_shared<FakeRangeSource>(sample.blob);
    read_all(*cache->layer(sample.digest(), sample.parse_table(), source).value());
    source->shutdown();
  }

  open_cache(root).reset();

  EXPECT_TRUE(open_layer(*open_cache(root))->complete());
}

// Whatever it did: the file is gone as long as a process may change what it is about.
TEST(Cache, BelievesNoLayerAfterAProcessThatWasKilled) {
  const test::TempDir root;
  const auto sample = SampleLayer::make(4, 8);
  {
    auto cache = open_cache(root);
    auto source = std::make_shared<FakeRangeSource>(sample.blob);
    read_all(*cache->layer(sample.digest(), sample.parse_table(), source).value());
    source->shutdown();
  }
  {
    auto killed = open_cache(root);
    EXPECT_TRUE(take_closed_layers(root.path() + "/cache").value().empty());
    killed.reset();
    ASSERT_FALSE(take_closed_layers(root.path() + "/cache").value().empty());
  }

  auto cache = open_cache(root);
  auto source = std::make_shared<FakeRangeSource>(sample.blob);
  auto layer = cache->layer(sample.digest(), sample.parse_table(), source).value();

  EXPECT_FALSE(layer->complete());
  EXPECT_EQ(read_all(*layer), sample.device);
  source->shutdown();
}

// A table says what is right for its layer's readers: two images that name one blob with two tables
// must not get each other's.
TEST(Cache, RefusesAnotherTableForAnOpenLayer) {
  const test::TempDir root;
  const auto sample = SampleLayer::make(4, 8);
  const auto other = SampleLayer::make(8, 8, 2);
  auto cache = open_cache(root);
  auto source = std::make_shared<FakeRangeSource>(sample.blob);
  auto layer = cache->layer(sample.digest(), sample.parse_table(), source).value();

  const auto refused = cache->layer(sample.digest(), other.parse_table(), source);

  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().code, Code::kInvalid);
  EXPECT_EQ(cache->layer(sample.digest(), sample.parse_table(), source).value(), layer);
  EXPECT_EQ(read_all(*layer), sample.device);
  source->shutdown();
}

TEST(Cache, BelievesNothingThatWasKeptUnderAnotherTable) {
  const test::TempDir root;
  const auto sample = SampleLayer::make(4, 8);
  const auto other = SampleLayer::make(8, 8, 2);
  auto source = std::make_shared<FakeRangeSource>(sample.blob);
  {
    auto cache = open_cache(root);
    auto layer = cache->layer(sample.digest(), sample.parse_table(), source).value();
    read_all(*layer);
    source->shutdown();
  }

  auto cache = open_cache(root);
  source = std::make_shared<FakeRangeSource>(other.blob);
  auto layer = cache->layer(sample.digest(), other.parse_table(), source).value();

  EXPECT_EQ(layer->stats().bytes_present, 0u);
  EXPECT_EQ(read_all(*layer), other.device);
  source->shutdown();
}

TEST(Cache, EndsReadsAtTheirDeadline) {
  const test::TempDir root;
  const auto sample = SampleLayer::make(4, 8);
  test::FakeClock clock;
  auto cache = open_cache(root, kQuiet, clock);
  auto source = std::make_shared<FakeRangeSource>(sample.blob);
  source->hold();
  auto layer = cache->layer(sample.digest(), sample.parse_table(), source).value();
  // Two readers: the source is told the second one's time, which never comes here.
  std::promise<Result<Buffer>> promise;
  const auto far = std::chrono::steady_clock::now() + std::chrono::hours(1);
  layer->read(0, 10, fetch::Priority::kDemand, far, [](const Result<Buffer>&) {});
  layer->read(0, 10, fetch::Priority::kDemand, clock.now() + std::chrono::seconds(60),
              [&](Result<Buffer> bytes) { promise.set_value(std::move(bytes)); });

  clock.advance(std::chrono::seconds(61));

  EXPECT_EQ(promise.get_future().get().error().code, Code::kUnavailable);
  source->shutdown();
}

// The answers come on the source's thread, which uses the cache's.
TEST(Cache, WaitsAtItsEndForTheAnswersOfItsSources) {
  const test::TempDir root;
  const auto sample = SampleLayer::make(4, 8);
  Cache::Options options;
  options.measure = [](const std::string&) -> Result<Cache::Disk> {
    return Cache::Disk{.bytes = uint64_t{1} << 40, .free = uint64_t{1} << 40};
  };
  auto cache = open_cache(root, options);
  auto source = std::make_shared<FakeRangeSource>(sample.blob);
  source->hold();
  cache->pin("a mount", {sample.digest()});
  auto layer = cache->layer(sample.digest(), sample.parse_table(), source).value();
  std::promise<Result<Buffer>> promise;
  auto answer = promise.get_future();
  layer->read(0, 10, fetch::Priority::kDemand, kClock.now() + std::chrono::seconds(20),
              [&](Result<Buffer> bytes) { promise.set_value(std::move(bytes)); });
  cache->tend_once();
  source->wait_for_waiting(2);
  layer.reset();

  auto ended = std::async(std::launch::async, [&] { cache.reset(); });

  EXPECT_EQ(ended.wait_for(std::chrono::milliseconds(300)), std::future_status::timeout);
  source->shutdown();
  ended.get();
  ASSERT_EQ(answer.wait_for(std::chrono::seconds(0)), std::future_status::ready);
  EXPECT_EQ(answer.get().error().code, Code::kCancelled);
}

// It writes chunks itself, and asks then how much waits to be written behind: that goes after it,
// so what waits there is not written before.
TEST(Cache, LetsARescueUnderWayEndBeforeWhatItAsks) {
  const test::TempDir root;
  const auto sample = SampleLayer::make(4, 8);
  const auto tar = test::TarBuilder().file("f", as_text(sample.device)).end().bytes();
  Cache::Options options = kQuiet;
  options.write_behind.longest = std::chrono::hours(1);
  options.measure = [](const std::string&) -> Result<Cache::Disk> {
    return Cache::Disk{.bytes = uint64_t{1} << 40, .free = uint64_t{1} << 40};
  };
  std::promise<void> rescued;
  std::promise<void> go;
  std::atomic<int> writes = 0;
  set_faults([&](std::string_view point) {
    if (point == "before-write" && writes++ == 0) {
      rescued.set_value();
      go.get_future().wait();
    }
    return 0;
  });
  auto cache = open_cache(root, options);
  auto source = std::make_shared<FakeRangeSource>(sample.blob);
  auto original = std::make_shared<FakeRangeSource>(tar);
  auto layer = cache->layer(sample.digest(), sample.parse_table(), source).value();
  layer->add_original({.name = "registry/app",
                       .digest = oci::Digest::of(tar),
                       .diff_id = oci::Digest::of(tar),
                       .source = original});
  const auto last = layer->table().at(3);
  ASSERT_TRUE(layer->insert(3, Bytes(sample.blob).subspan(last.blob_offset, last.stored_size)));
  source->fail(Error(Code::kNotFound, "404"));
  layer->read(0, 10, fetch::Priority::kDemand, kClock.now() + std::chrono::seconds(20),
              [](const Result<ReadBytes>&) {});
  rescued.get_future().wait();
  layer.reset();
  source->shutdown();
  original->shutdown();

  auto ended = std::async(std::launch::async, [&] { cache.reset(); });

  // It has its chance to go on too early.
  EXPECT_EQ(ended.wait_for(std::chrono::milliseconds(300)), std::future_status::timeout);
  EXPECT_EQ(writes, 1);
  go.set_value();
  ended.get();
  EXPECT_EQ(writes, 4) << "of the rescue, and the one that waited";
  set_faults({});
}

TEST(Cache, RemovesWhatNobodyNeeds) {
  const test::TempDir root;
  const auto kept = SampleLayer::make(4, 8, 1);
  const auto gone = SampleLayer::make(4, 8, 2);
  auto cache = open_cache(root);
  std::vector<std::shared_ptr<FakeRangeSource>> sources;
  for (const auto* sample : {&kept, &gone}) {
    sources.push_back(std::make_shared<FakeRangeSource>(sample->blob));
    auto layer = cache->layer(sample->digest(), sample->parse_table(), sources.back()).value();
    read_all(*layer);
    while (!layer->holds(0)) ASSERT_TRUE(layer->sync());
  }
  const auto read_on = cache->find(gone.digest());

  cache->pin("a mount", {kept.digest()});
  ASSERT_TRUE(cache->clear());

  EXPECT_TRUE(cache->find(kept.digest())->holds(0));
  EXPECT_FALSE(read_on->holds(0)) << "a cleared cache lends nothing, whoever still reads it";
  EXPECT_EQ(read_all(*read_on), gone.device);

  EXPECT_NE(cache->find(kept.digest()), nullptr);
  EXPECT_EQ(cache->find(gone.digest()), nullptr);
  auto again = cache->layer(gone.digest(), gone.parse_table(), sources[1]).value();
  EXPECT_EQ(again->stats().bytes_present, 0u);
  EXPECT_EQ(read_all(*again), gone.device);
  for (auto& source : sources) source->shutdown();
}

}  // namespace
}  // namespace runnel::cache
