// Layers on a disk that loses power: thousands of short lives, each drawn from a seed.
#include <gtest/gtest.h>

#include <future>
#include <random>

#include "base/worker_pool.h"
#include "cache/layer.h"
#include "support/fake_range_source.h"
#include "support/lossy_storage.h"
#include "support/sample_layer.h"

namespace runnel::cache {
namespace {

using fetch::Priority;
using test::FakeRangeSource;
using test::LossyDisk;
using test::SampleLayer;

constexpr uint32_t kChunks = 12;
constexpr uint32_t kBlocks = 2;
constexpr uint64_t kChunkBytes = kBlocks * artifact::kBlockSize;
constexpr uint64_t kBitsOffset = 4096;  // validity.h

const SampleLayer& sample() {
  static const SampleLayer made = SampleLayer::make(kChunks, kBlocks);
  return made;
}

struct Tally {
  unsigned reads = 0;
  unsigned failed = 0;
  unsigned complete = 0;
};

// A disk, and one process after another on it.
class Machine {
 public:
  Machine(unsigned seed, bool garbage, Tally& tally)
      : garbage_(garbage), disk_(seed, garbage), random_(seed), tally_(tally) {
    // Garbage in the bits is nobody's doing; that it does no harm is what the reads show.
    if (!garbage) disk_.on_change = [this] { expect_bits_to_be_true(); };
  }

  // One process, from its start to whatever ends it.
  void live() {
    // Before the pools: their last tasks may hold the layer, which uses these when it goes.
    std::atomic<uint64_t> kept = 0;
    const SystemClock clock;
    Budget budget{Limits{}};
    WorkerPool verify(1);
    WorkerPool write(1);
    RescueQueue rescue(0);
    const auto source = std::make_shared<FakeRangeSource>(sample().blob);
    if (one_in(3)) kept = uint64_t{1} << 40;  // no memory to spare: reads go back to the file
    if (!one_in(4)) disk_.lose_power_after(random_() % 40);
    auto layer = Layer::open(disk_.storage(), sample().parse_table(), source,
                             {.verify = verify,
                              .write = write,
                              .rescue = rescue,
                              .clock = clock,
                              .kept_bytes = kept,
                              .budget = budget},
                             std::exchange(left_, Layer::Left::kAnyhow));
    if (layer) {
      for (unsigned step = random_() % 24; step > 0; --step) {
        act(**layer, clock);
        settle(verify, write);
        expect_complete_to_be_whole(**layer);
      }
    }
    source->shutdown();
    settle(verify, write);
    // A clean stop, a SIGKILL (what was written stays in the page cache), or a power cut.
    if (layer && one_in(3) && (*layer)->close().value_or(false)) left_ = Layer::Left::kClosed;
    if (one_in(4)) return;
    disk_.power_cycle();
    // What the disk itself changes is found as long as nothing is believed.
    if (garbage_ && left_ == Layer::Left::kAnyhow && one_in(3)) {
      disk_.damage("device", random_() % sample().device.size());
    }
  }

  bool failed() const { return testing::Test::HasFailure(); }

 private:
  bool one_in(unsigned n) { return random_() % n == 0; }

  void act(Layer& layer, const Clock& clock) {
    switch (random_() % 8) {
      case 0:
      case 1:
        if (one_in(6)) disk_.fail_next_sync();
        (void)layer.sync();
        return;
      case 2: layer.fill(true); return;
      default: read(layer, clock); return;
    }
  }

  void read(Layer& layer, const Clock& clock) {
    const uint64_t offset = random_() % layer.size();
    const uint64_t length = 1 + random_() % std::min<uint64_t>(layer.size() - offset, 5 * 8192);
    const auto expected = Bytes(sample().device).subspan(offset, length);
    ++tally_.reads;
    Buffer now(length);
    if (layer.read_now(offset, now)) ASSERT_TRUE(std::ranges::equal(now, expected));
    std::promise<Result<Buffer>> promise;
    layer.read(offset, length, Priority::kDemand, clock.now() + std::chrono::seconds(20),
               [&](Result<Buffer> bytes) { promise.set_value(std::move(bytes)); });
    const auto bytes = promise.get_future().get();
    if (!bytes) return void(++tally_.failed);
    ASSERT_TRUE(std::ranges::equal(*bytes, expected));
  }

  static void settle(WorkerPool& verify, WorkerPool& write) {
    for (auto* pool : {&verify, &write}) {
      std::promise<void> reached;
      pool->submit([&] { reached.set_value(); });
      reached.get_future().wait();
    }
  }

  // A mount reads the file without asking: then everything is there, on the platter too.
  void expect_complete_to_be_whole(Layer& layer) {
    if (!layer.complete()) return;
    ++tally_.complete;
    ASSERT_TRUE(disk_.seen("device") == sample().device);
    ASSERT_TRUE(disk_.on_platter("device") == sample().device);
    ASSERT_TRUE(disk_.names_durable());
  }

  void expect_bits_to_be_true() {
    const auto& validity = disk_.on_platter("validity");
    const auto& device = disk_.on_platter("device");
    for (uint32_t chunk = 0; chunk < kChunks; ++chunk) {
      if (validity.size() <= kBitsOffset + chunk / 8) return;
      const auto bit = static_cast<std::byte>(1 << chunk % 8);
      if ((validity[kBitsOffset + chunk / 8] & bit) == std::byte{0}) continue;
      const auto expected = Bytes(sample().device).subspan(chunk * kChunkBytes, kChunkBytes);
      const bool whole =
          device.size() >= (chunk + 1) * kChunkBytes &&
          std::ranges::equal(Bytes(device).subspan(chunk * kChunkBytes, kChunkBytes), expected);
      EXPECT_TRUE(whole) << "chunk " << chunk << " has a bit and no data";
    }
  }

  const bool garbage_;
  LossyDisk disk_;
  Layer::Left left_ = Layer::Left::kAnyhow;  // what the last process wrote down
  std::mt19937 random_;
  Tally& tally_;
};

// One process on a disk, which does what the test says and is killed.
class Process {
 public:
  explicit Process(LossyDisk& disk, Layer::Left left = Layer::Left::kAnyhow)
      : layer(Layer::open(disk.storage(), sample().parse_table(), source,
                          {.verify = verify_,
                           .write = write_,
                           .rescue = rescue_,
                           .clock = clock_,
                           .kept_bytes = kept_,
                           .budget = budget_},
                          left)
                  .value()) {}
  ~Process() {
    source->shutdown();
    settle();
  }
  Process(const Process&) = delete;
  Process& operator=(const Process&) = delete;

  // Returns when what came is written, too.
  Result<Buffer> read(uint32_t first, uint32_t chunks) {
    std::promise<Result<Buffer>> promise;
    layer->read(first * kChunkBytes, chunks * kChunkBytes, Priority::kDemand,
                clock_.now() + std::chrono::seconds(20),
                [&](Result<Buffer> bytes) { promise.set_value(std::move(bytes)); });
    auto bytes = promise.get_future().get();
    settle();
    return bytes;
  }
  // Ends cleanly; what the next one is told.
  Layer::Left close() {
    return layer->close().value() ? Layer::Left::kClosed : Layer::Left::kAnyhow;
  }
  bool reads_all_right() { return read(0, kChunks).value() == sample().device; }

 private:
  void settle() {
    for (auto* pool : {&verify_, &write_}) {
      std::promise<void> reached;
      pool->submit([&] { reached.set_value(); });
      reached.get_future().wait();
    }
  }

  std::atomic<uint64_t> kept_ = 0;
  const SystemClock clock_;
  Budget budget_{Limits{}};
  RescueQueue rescue_{0};
  WorkerPool verify_{1};
  WorkerPool write_{1};

 public:
  const std::shared_ptr<FakeRangeSource> source = std::make_shared<FakeRangeSource>(sample().blob);
  const std::shared_ptr<Layer> layer;
};

// A disk on which all chunks but these are absent, and the last of these is wrong.
void keep_and_damage(LossyDisk& disk, const std::vector<uint32_t>& chunks) {
  {
    Process process(disk);
    for (const uint32_t chunk : chunks) ASSERT_TRUE(process.read(chunk, 1));
    ASSERT_TRUE(process.layer->sync());
  }
  disk.damage("device", chunks.back() * kChunkBytes + 100);
}

const std::vector<uint32_t> kAll{0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11};

// What arrives of writes that were on their way is drawn from a seed.
constexpr unsigned kDraws = 50;

TEST(PowerLoss, MakesNothingDurableThatOnlyThePageCacheHasRight) {
  for (unsigned seed = 0; seed < kDraws; ++seed) {
    SCOPED_TRACE(seed);
    LossyDisk disk(seed, false);
    ASSERT_NO_FATAL_FAILURE(keep_and_damage(disk, kAll));
    ASSERT_TRUE(Process(disk).reads_all_right()) << "killed when it had written the chunk anew";
    Layer::Left left{};
    {
      Process process(disk);
      ASSERT_TRUE(process.reads_all_right());
      ASSERT_TRUE(process.source->reads().empty()) << "all of it is right in the page cache";
      EXPECT_FALSE(process.layer->complete());
      left = process.close();
    }

    disk.power_cycle();

    ASSERT_TRUE(Process(disk, left).reads_all_right());
  }
}

TEST(PowerLoss, BelievesNothingThatAFailedSyncMayHaveLost) {
  for (unsigned seed = 0; seed < kDraws; ++seed) {
    SCOPED_TRACE(seed);
    LossyDisk disk(seed, false);
    ASSERT_NO_FATAL_FAILURE(keep_and_damage(disk, kAll));
    ASSERT_TRUE(Process(disk).reads_all_right()) << "killed when it had written the chunk anew";
    Layer::Left left{};
    {
      Process process(disk);
      ASSERT_TRUE(process.read(0, 1));
      disk.fail_next_sync();  // for what the other one wrote, and nobody else will hear of it
      ASSERT_FALSE(process.layer->sync());
      ASSERT_TRUE(process.reads_all_right());
      left = process.close();
    }

    disk.power_cycle();

    ASSERT_TRUE(Process(disk, left).reads_all_right());
  }
}

TEST(PowerLoss, BringsNoBitBackThatWasClearedBeforeACleanStop) {
  const Error down(Code::kUnavailable, "down");
  for (unsigned seed = 0; seed < kDraws; ++seed) {
    SCOPED_TRACE(seed);
    LossyDisk disk(seed, false);
    ASSERT_NO_FATAL_FAILURE(keep_and_damage(disk, {0, 11}));  // their bits are not in one byte
    {
      Process killed(disk);
      killed.source->fail(down);
      ASSERT_FALSE(killed.read(11, 1));
      disk.fail_next_sync();
      ASSERT_FALSE(killed.layer->sync()) << "the bit is cleared, but not for good";
    }
    Layer::Left left{};
    {
      Process process(disk);
      process.source->fail(down);
      ASSERT_TRUE(process.read(0, 1));
      ASSERT_FALSE(process.read(11, 1));
      left = process.close();
    }

    disk.power_cycle();

    ASSERT_TRUE(Process(disk, left).reads_all_right());
  }
}

TEST(PowerLoss, ANewLayerWaitsForNoDiskAndKeepsWhatWasSyncedAllTheSame) {
  for (unsigned seed = 0; seed < kDraws; ++seed) {
    SCOPED_TRACE(seed);
    LossyDisk disk(seed, false);
    {
      Process process(disk);
      EXPECT_EQ(disk.syncs(), 0u);
      ASSERT_TRUE(process.read(0, 1));
      ASSERT_TRUE(process.layer->sync());
    }

    disk.power_cycle();

    Process process(disk);
    process.source->fail(Error(Code::kUnavailable, "down"));
    EXPECT_TRUE(process.read(0, 1));
    EXPECT_FALSE(process.read(1, 1));
  }
}

TEST(PowerLoss, AStopAndAStartWaitForNoDiskWhereAllIsDurable) {
  LossyDisk disk(1, false);
  Layer::Left left{};
  {
    Process process(disk);
    ASSERT_TRUE(process.reads_all_right());
    ASSERT_TRUE(process.layer->sync());
    const unsigned before = disk.syncs();
    left = process.close();
    EXPECT_EQ(disk.syncs(), before);
  }
  ASSERT_EQ(left, Layer::Left::kClosed);
  disk.power_cycle();
  const unsigned before = disk.syncs();

  Process process(disk, left);

  EXPECT_TRUE(process.layer->complete());
  EXPECT_EQ(process.close(), Layer::Left::kClosed);
  EXPECT_EQ(disk.syncs(), before);
}

TEST(PowerLoss, ALayerOfWhichNothingIsHereIsNotToBeBelieved) {
  LossyDisk disk(1, false);
  Process process(disk);

  EXPECT_EQ(process.close(), Layer::Left::kAnyhow) << "nobody has synced its empty bits";
  EXPECT_EQ(disk.syncs(), 0u);
}

TEST(PowerLoss, NeverGivesAWrongByte) {
  constexpr unsigned kSeeds = 2000;
  constexpr int kLives = 4;
  Tally tally;

  for (unsigned seed = 0; seed < kSeeds; ++seed) {
    SCOPED_TRACE(seed);
    Machine machine(seed, seed % 2 == 1, tally);
    for (int life = 0; life < kLives && !machine.failed(); ++life) machine.live();
    if (machine.failed()) return;
  }

  // So that nobody takes a test for proof that reads nothing.
  EXPECT_GT(tally.reads, 10 * kSeeds);
  EXPECT_GT(tally.complete, kSeeds / 10);
  fmt::print("{} reads, {} of them failed, {} times complete\n", tally.reads, tally.failed,
             tally.complete);
}

}  // namespace
}  // namespace runnel::cache
