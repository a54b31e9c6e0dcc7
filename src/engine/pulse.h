// The worker's signs of life, which its holder watches (watch.h), and how the holder answers
// readers when there are none.
//
// A beat says that the worker keeps the deadlines of reads: the thread that ends late ones counts
// it, and never waits for a disk or the network. A breath says only that the process runs: it comes
// from the worker's first moment on, so that one which opens a large cache differs from one which
// is stopped. Both are numbers in shared memory that only grow (and wrap).
#pragma once

#include <cstdint>
#include <thread>
#include <utility>

#include "base/error.h"
#include "base/fd.h"

namespace runnel::engine {

// Of all workers of a holder together.
struct SignsOfLife {
  uint32_t beats = 0;
  uint32_t breaths = 0;

  bool operator==(const SignsOfLife&) const = default;
};

// Two words that holder and worker share. Any thread.
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
  void breathe();
  SignsOfLife signs() const;

 private:
  Pulse(UniqueFd memory, void* words) : memory_(std::move(memory)), words_(words) {}
  static Result<Pulse> map(UniqueFd memory);

  UniqueFd memory_;
  void* words_ = nullptr;
};

// Breathes from its construction on, twice a second, in a thread of its own that does nothing else.
class Breathing {
 public:
  explicit Breathing(Pulse pulse);
  ~Breathing();
  Breathing(const Breathing&) = delete;
  Breathing& operator=(const Breathing&) = delete;

 private:
  Pulse pulse_;
  std::jthread thread_;  // last: it uses the other one
};

// Takes what the kernel wants of this FUSE connection (non-blocking), that which a worker took and
// never answered included, and refuses it with EIO. Returns how many requests that were.
size_t refuse_requests(int fuse);

}  // namespace runnel::engine
