#include "cache/scrubber.h"

#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <random>

namespace runnel::cache {

namespace {

// Linux' ioprio.h: class "idle" (3) in the upper bits, for this thread (who 1, id 0).
void take_idle_priority() {
  constexpr int kWhoProcess = 1;
  constexpr int kClassIdle = 3 << 13;
  (void)!::syscall(SYS_ioprio_set, kWhoProcess, 0, kClassIdle);
}

Duration time_for(uint64_t bytes, uint64_t rate) {
  return std::chrono::duration_cast<Duration>(
      std::chrono::duration<double>(static_cast<double>(bytes) / static_cast<double>(rate)));
}

}  // namespace

uint64_t scrub_rate(const ScrubOptions& options, uint64_t cache_bytes) {
  const auto seconds = std::chrono::ceil<std::chrono::seconds>(options.pass).count();
  return std::max(options.least_rate, cache_bytes / static_cast<uint64_t>(seconds));
}

Scrubber::Scrubber(const ScrubOptions& options, Layers layers)
    : options_(options), layers_(std::move(layers)) {
  if (options_.least_rate > 0) thread_ = std::thread([this] { run(); });
}

Scrubber::~Scrubber() {
  {
    const std::lock_guard lock(mutex_);
    stopping_ = true;
  }
  stop_changed_.notify_all();
  if (thread_.joinable()) thread_.join();
}

void Scrubber::run() {
  take_idle_priority();
  for (;;) {
    const auto begin = std::chrono::steady_clock::now();
    if (!pass()) return;
    const auto taken = std::chrono::steady_clock::now() - begin;
    // At least a second: an empty cache fills up soon after the start.
    const auto rest = std::max<Duration>(options_.rest - taken, std::chrono::seconds(1));
    const bool empty = layers_().empty();
    if (!pause(empty ? std::chrono::seconds(1) : rest)) return;
  }
}

// False when it has to stop. A process that never lives for a whole pass begins elsewhere each
// time.
bool Scrubber::pass() {
  std::vector<std::weak_ptr<Layer>> layers;
  uint64_t present = 0;
  for (const auto& layer : layers_()) {
    layers.emplace_back(layer);
    present += layer->stats().bytes_present;
  }
  std::shuffle(layers.begin(), layers.end(), std::mt19937(std::random_device{}()));
  const uint64_t rate = scrub_rate(options_, present);
  return std::ranges::all_of(layers, [&](const auto& layer) { return scrub(layer, rate); });
}

// Between two chunks nobody here has the layer: what is removed meanwhile frees its disk at once.
bool Scrubber::scrub(const std::weak_ptr<Layer>& removable, uint64_t rate) {
  for (uint32_t chunk = 0;; ++chunk) {
    uint64_t read = 0;
    {
      const auto layer = removable.lock();
      if (!layer || chunk == layer->table().size()) return true;
      read = layer->scrub(chunk);
    }
    if (!pause(time_for(read, rate))) return false;
  }
}

bool Scrubber::pause(Duration duration) {
  std::unique_lock lock(mutex_);
  return !stop_changed_.wait_for(lock, duration, [this] { return stopping_; });
}

}  // namespace runnel::cache
