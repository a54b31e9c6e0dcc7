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
    if (!pause(layers_().empty() ? std::chrono::seconds(1) : rest)) return;
  }
}

// False when it has to stop. A process that never lives for a whole pass begins elsewhere each
// time.
bool Scrubber::pass() {
  auto layers = layers_();
  std::shuffle(layers.begin(), layers.end(), std::mt19937(std::random_device{}()));
  uint64_t present = 0;
  for (const auto& layer : layers) present += layer->stats().bytes_present;
  const uint64_t rate = scrub_rate(options_, present);
  for (const auto& layer : layers) {
    for (uint32_t chunk = 0; chunk < layer->table().size(); ++chunk) {
      const uint64_t read = layer->scrub(chunk);
      if (!pause(time_for(read, rate))) return false;
    }
  }
  return true;
}

bool Scrubber::pause(Duration duration) {
  std::unique_lock lock(mutex_);
  return !stop_changed_.wait_for(lock, duration, [this] { return stopping_; });
}

}  // namespace runnel::cache
