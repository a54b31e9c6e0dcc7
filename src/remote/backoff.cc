#include "remote/backoff.h"

#include <algorithm>
#include <random>

namespace runnel::remote {

Random system_random() {
  return [] {
    thread_local std::minstd_rand engine{std::random_device{}()};
    return std::uniform_real_distribution<double>(0, 1)(engine);
  };
}

Duration Backoff::delay(int done, double random) const {
  Duration full = first_delay;
  for (int i = 1; i < done && full < longest_delay; ++i) full *= 2;
  full = std::min(full, longest_delay);
  const double part = 0.5 + std::clamp(random, 0.0, 1.0) / 2;
  return std::chrono::duration_cast<Duration>(full * part);
}

bool is_retryable_status(int status) {
  switch (status) {
    case 408:
    case 425:
    case 429:
    case 500:
    case 502:
    case 503:
    case 504: return true;
    default: return false;
  }
}

}  // namespace runnel::remote
