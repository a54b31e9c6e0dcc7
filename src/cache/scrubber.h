// Goes over what is on disk again and again, slowly, so that damage is found and repaired before a
// reader meets it, or a mount that reads the file directly.
#pragma once

#include <condition_variable>
#include <functional>
#include <memory>
#include <mutex>
#include <thread>
#include <vector>

#include "base/clock.h"
#include "cache/layer.h"

namespace runnel::cache {

// A pass takes a week when the cache is large, and goes at least at `least_rate` when it is not;
// the next one begins a day after it at the earliest.
struct ScrubOptions {
  uint64_t least_rate = 1 << 20;  // bytes a second; 0: no scrub
  Duration pass = std::chrono::hours(7 * 24);
  Duration rest = std::chrono::hours(24);
};

// Bytes a second for a cache that has so many.
uint64_t scrub_rate(const ScrubOptions& options, uint64_t cache_bytes);

class Scrubber {
 public:
  using Layers = std::function<std::vector<std::shared_ptr<Layer>>()>;

  // One thread of its own, of the lowest I/O priority, that calls `layers` at each pass. It keeps
  // none of them open while it rests.
  Scrubber(const ScrubOptions& options, Layers layers);
  ~Scrubber();

 private:
  void run();
  bool pass();
  bool scrub(const std::weak_ptr<Layer>& removable, uint64_t rate);
  bool pause(Duration duration);

  const ScrubOptions options_;
  const Layers layers_;
  std::mutex mutex_;
  std::condition_variable stop_changed_;
  bool stopping_ = false;
  std::thread thread_;
};

}  // namespace runnel::cache
