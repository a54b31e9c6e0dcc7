// How much of the layers' files the kernel has in memory, for whoever asks for the status: a walk
// over every cached page of every layer, which a machine with hundreds of gigabytes of them must
// not make anybody wait for.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <mutex>
#include <string>

#include "base/clock.h"

namespace runnel::node {

// Any thread may call any method; no lock is held while something is measured.
class PageCacheMeter {
 public:
  // `clock` must outlive this. A round begins no measurement after `patience`.
  explicit PageCacheMeter(const Clock& clock, Duration patience = std::chrono::milliseconds(500))
      : clock_(clock), patience_(patience) {}

  using Measure = std::function<uint64_t()>;
  // Bytes by layer. What this round has no time for is as it was the last time (0 when there was
  // none), and comes first in the next round. Forgets layers that are not asked for.
  std::map<std::string, uint64_t> measure(const std::map<std::string, Measure>& layers);

 private:
  struct Seen {
    uint64_t bytes = 0;
    SteadyTime at{};
  };

  const Clock& clock_;
  const Duration patience_;
  std::mutex mutex_;
  std::map<std::string, Seen> seen_;
};

}  // namespace runnel::node
