// The worker's sign of life, and what the holder does for readers when there is none.
//
// The thread that ends late reads counts a number in shared memory up; it never waits for a disk or
// the network. When that number stands still for as long as a read may take, the worker is stopped,
// frozen, or cannot start: the deadlines that it should keep are nobody's. The holder then kills
// it, and when no other takes over, answers the kernel's requests with EIO itself: a read ends,
// whatever became of the worker.
#pragma once

#include <cstdint>

#include "base/error.h"
#include "base/fd.h"

namespace runnel::engine {

// One word that holder and worker share.
class Pulse {
 public:
  // In the holder. Workers started afterwards find it by an environment variable.
  static Result<Pulse> create();
  // In the worker. Without a holder: one that nobody looks at.
  static Result<Pulse> inherited();

  ~Pulse();
  Pulse(Pulse&& other) noexcept;
  Pulse& operator=(Pulse&&) = delete;
  Pulse(const Pulse&) = delete;
  Pulse& operator=(const Pulse&) = delete;

  void beat();
  uint32_t beats() const;

 private:
  Pulse(UniqueFd memory, void* word) : memory_(std::move(memory)), word_(word) {}
  static Result<Pulse> map(UniqueFd memory);

  UniqueFd memory_;
  void* word_ = nullptr;
};

// In the holder. Counts its own ticks and not the clock's: when both are stopped, nobody is late.
class Watch {
 public:
  // `beats` were counted before, by workers of an earlier holder.
  explicit Watch(uint32_t patience_ticks, uint32_t beats = 0)
      : patience_(patience_ticks), last_(beats) {}

  enum class Verdict : uint8_t {
    kFine,
    kKill,    // it was alive and is not any more; once for each worker
    kRefuse,  // nobody has taken over: answer for it
  };

  void worker_started() {
    alive_ = killed_ = false;
    age_ = 0;
  }
  // To be called at equal intervals, whether a worker runs or not.
  Verdict tick(uint32_t beats);

 private:
  // What another worker has after a kill, to start and take over.
  static constexpr uint32_t kGraceTicks = 5;
  // What a worker has until its first beat: it opens the cache, which may be large. One that stands
  // still before it ever served must not keep its place for ever.
  static constexpr uint32_t kStartTicks = 600;

  const uint32_t patience_;
  uint32_t last_;
  uint32_t quiet_ = 0;  // ticks since the last beat, of whichever worker
  uint32_t age_ = 0;    // of this worker, in ticks
  bool alive_ = false;  // this worker has shown a beat
  bool killed_ = false;
};

// Takes what the kernel wants of this FUSE connection (non-blocking), that which a worker took and
// never answered included, and refuses it with EIO. Returns how many requests that were.
size_t refuse_requests(int fuse);

}  // namespace runnel::engine
