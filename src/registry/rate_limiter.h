// How often somebody may do something.
#pragma once

#include <cstddef>
#include <mutex>
#include <optional>
#include <string>
#include <unordered_map>

#include "base/clock.h"

namespace runnel::registry {

// A bucket of tokens for each name: full it allows a minute's worth at once, and it fills evenly.
// Any thread may call any method; the clock must outlive it.
class RateLimiter {
 public:
  // `per_minute` 0: no limit.
  RateLimiter(unsigned per_minute, const Clock& clock) : per_minute_(per_minute), clock_(clock) {}

  // Takes one; or, when there is none, says after how long there is.
  std::optional<Duration> take(const std::string& who);
  // The same without taking it.
  std::optional<Duration> wait(const std::string& who);

 private:
  struct Bucket {
    double left;
    SteadyTime seen;
  };

  Bucket& filled_locked(const std::string& who);
  std::optional<Duration> wait_locked(const Bucket& bucket) const;
  void make_room_locked();

  const unsigned per_minute_;
  const Clock& clock_;
  std::mutex mutex_;
  std::unordered_map<std::string, Bucket> buckets_;
};

// "Retry-After", in whole seconds.
std::string retry_after(Duration wait);

}  // namespace runnel::registry
