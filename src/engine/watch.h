// What the holder does about a worker that shows no sign of life (pulse.h): it kills the one that
// stands still, and when no other takes over in time, answers the kernel's requests with EIO
// itself. A read ends, whatever became of the worker.
#pragma once

#include <algorithm>
#include <cstdint>

#include "engine/pulse.h"

namespace runnel::engine {

// One thread. Counts its own ticks and not the clock's: when both are stopped, nobody is late.
class Watch {
 public:
  // How long the ticks are is the caller's; a read may take `patience_ticks` of them. `signs` were
  // given before, by workers of an earlier holder.
  explicit Watch(uint32_t patience_ticks, SignsOfLife signs = {})
      : patience_(patience_ticks), last_(signs) {}

  enum class Verdict : uint8_t {
    kFine,
    kKill,    // it stands still, or never began to serve; once for each worker
    kRefuse,  // nobody has taken over: answer for it
  };

  void worker_started() {
    serves_ = ends_ = killed_ = false;
    age_ = breathless_ = 0;
  }
  // It was told to end. Its beats end before it does (it syncs without them, and has its caller's
  // time for that), so what it shows from now on is that it breathes.
  void worker_ends() {
    ends_ = true;
    breathless_ = 0;
  }
  // To be called at equal intervals, whether a worker runs or not.
  Verdict tick(SignsOfLife signs);

 private:
  // What another worker has after a kill, to start and take over.
  static constexpr uint32_t kGraceTicks = 5;
  // How long a worker that starts may go without a breath: loading the program from a slow disk.
  static constexpr uint32_t kBreathlessTicks = 15;
  // What a worker that breathes has until its first beat: it opens the cache, which may be large.
  static constexpr uint32_t kStartTicks = 600;

  bool stands_still() const;

  const uint32_t patience_;
  SignsOfLife last_;
  uint32_t quiet_ = 0;       // ticks since the last beat, of whichever worker
  uint32_t age_ = 0;         // of this worker, in ticks
  uint32_t breathless_ = 0;  // ticks since this worker's last breath
  bool serves_ = false;      // this worker has shown a beat
  bool ends_ = false;        // this worker was told to
  bool killed_ = false;
};

}  // namespace runnel::engine
