// How long to wait before trying again.
#pragma once

#include <cstdint>
#include <functional>

#include "base/clock.h"

namespace runnel::remote {

// A number from 0 to 1; any thread may call it. Injected, so that tests know what comes.
using Random = std::function<double()>;
Random system_random();

struct Backoff {
  Duration first_delay;
  Duration longest_delay;

  // Before attempt `done` + 1, when `done` have failed: doubles from first_delay to longest_delay,
  // of which between half and all is waited ("equal jitter"), so that many clients that failed
  // together do not come back together.
  Duration delay(int done, double random) const;
};

// For callers that have no deadline.
struct RetryPolicy {
  int attempts = 5;  // in all, the first included
  Duration first_delay = std::chrono::milliseconds(200);
  Duration longest_delay = std::chrono::seconds(5);

  Duration delay(int done, double random) const {
    return Backoff{.first_delay = first_delay, .longest_delay = longest_delay}.delay(done, random);
  }
};

// Statuses after which the same request may succeed: 408, 425, 429, 500, 502, 503, 504.
bool is_retryable_status(int status);

}  // namespace runnel::remote
