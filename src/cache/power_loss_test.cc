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
      : disk_(seed, garbage), random_(seed), tally_(tally) {
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
    const auto source = std::make_shared<FakeRangeSource>(sample().blob);
    if (one_in(3)) kept = uint64_t{1} << 40;  // no memory to spare: reads go back to the file
    if (!one_in(4)) disk_.lose_power_after(random_() % 40);
    auto layer = Layer::open(disk_.storage(), sample().parse_table(), source,
                             {.verify = verify,
                              .write = write,
                              .rescue = write,
                              .clock = clock,
                              .kept_bytes = kept,
                              .budget = budget});
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
    if (layer && one_in(3)) (void)(*layer)->close();
    if (!one_in(4)) disk_.power_cycle();
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

  LossyDisk disk_;
  std::mt19937 random_;
  Tally& tally_;
};

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
