#include "engine/restarts.h"

#include <algorithm>

namespace runnel::engine {

namespace {

// A worker that was killed after so long had started well; one that gave up by itself before
// kStartMs had not, on a slow machine too.
constexpr int64_t kSettledMs = 200;
constexpr int64_t kStartMs = 5000;
constexpr int kSignalled = 128;   // exit codes below are the worker's own
constexpr int kFreeRestarts = 3;  // in a row and at once, of workers that did not start well
// Short at first: containerd gives up a handshake after a second, and takes seconds to try again.
constexpr int kFirstPauseMs = 50;
// A start takes a twentieth of it. Readers wait meanwhile, and each worker may have time for some.
constexpr int kLongestPauseMs = 2'000;

}  // namespace

std::optional<int> Restarts::after(int code, int64_t lived_ms) {
  const bool killed = code >= kSignalled;
  const bool settled = lived_ms >= (killed ? kSettledMs : kStartMs);
  if (!goes_on_ && !settled && !killed) return std::nullopt;
  goes_on_ = true;
  quick_deaths_ = settled ? 0 : quick_deaths_ + 1;
  return pause();
}

int Restarts::pause() const {
  int pause = 0;
  for (int i = kFreeRestarts; i < quick_deaths_ && pause < kLongestPauseMs; ++i) {
    pause = pause == 0 ? kFirstPauseMs : pause * 2;
  }
  return std::min(pause, kLongestPauseMs);
}

}  // namespace runnel::engine
