// An open layer of a few known chunks, over a source that tests hold and script, with all that it
// needs.
#pragma once

#include <gtest/gtest.h>

#include <future>
#include <thread>

#include "cache/layer.h"
#include "support/fake_range_source.h"
#include "support/sample_layer.h"
#include "support/skipping_clock.h"
#include "support/temp_dir.h"

namespace runnel::test {

class OpenLayer {
 public:
  static constexpr uint32_t kChunks = 8;
  static constexpr uint32_t kBlocks = 32;
  static constexpr uint64_t kChunkBytes = kBlocks * artifact::kBlockSize;
  static constexpr uint64_t kRead = 10;  // bytes of a read()

  // With `chunks`, it takes from the layers there what they have, and lends. No write waits, unless
  // `limits` let it.
  explicit OpenLayer(cache::ChunkIndex* chunks = nullptr,
                     const cache::WriteBehind::Limits& limits = {.most_bytes = 0})
      : behind(write_, clock, limits),
        layer(cache::Layer::open(cache::directory_storage(directory_.path()), sample.parse_table(),
                                 source,
                                 {.verify = verify_,
                                  .write = write_,
                                  .rescue = rescue_,
                                  .clock = clock,
                                  .kept_bytes = kept_bytes_,
                                  .budget = budget,
                                  .read_ahead = false,
                                  .chunks = chunks,
                                  .behind = &behind})
                  .value()) {
    if (chunks != nullptr) chunks->add(layer);
  }
  ~OpenLayer() {
    source->shutdown();
    layer.reset();
  }
  OpenLayer(const OpenLayer&) = delete;
  OpenLayer& operator=(const OpenLayer&) = delete;

  // The chunk's first bytes, as a reader asks for them, and as they are.
  std::future<Result<Buffer>> read(uint32_t chunk) {
    auto promise = std::make_shared<std::promise<Result<Buffer>>>();
    auto future = promise->get_future();
    layer->read(chunk * kChunkBytes, kRead, fetch::Priority::kDemand,
                clock.now() + std::chrono::seconds(20),
                [promise](Result<Buffer> bytes) { promise->set_value(std::move(bytes)); });
    return future;
  }
  Buffer expected(uint32_t chunk) const {
    const auto at = sample.device.begin() + static_cast<ptrdiff_t>(chunk * kChunkBytes);
    return Buffer(at, at + kRead);
  }

  // Until everything is here and durable.
  void complete() {
    while (!layer->complete()) {
      layer->fill(true);
      EXPECT_TRUE(layer->sync());
      std::this_thread::yield();
    }
  }

  // Until everything that was asked for has come, or not, and is written.
  void settle() {
    source->wait_until_quiet();
    for (auto* pool : {&verify_, &write_}) {
      std::promise<void> reached;
      pool->submit([&] { reached.set_value(); });
      reached.get_future().wait();
    }
  }

  // What its source has of the chunk.
  Bytes frame(uint32_t chunk) const {
    const auto at = layer->table().at(chunk);
    return Bytes(sample.blob).subspan(at.blob_offset, at.stored_size);
  }

  // What the threads' last tasks use outlives them.
  SkippingClock clock;
  cache::Budget budget{cache::Limits{}};

 private:
  std::atomic<uint64_t> kept_bytes_ = 0;
  TempDir directory_;
  cache::RescueQueue rescue_{1};
  WorkerPool write_{1};

 public:
  cache::WriteBehind behind;

 private:
  WorkerPool verify_{1};

 public:
  SampleLayer sample = SampleLayer::make(kChunks, kBlocks);
  std::shared_ptr<FakeRangeSource> source = std::make_shared<FakeRangeSource>(sample.blob);
  std::shared_ptr<cache::Layer> layer;
};

}  // namespace runnel::test
