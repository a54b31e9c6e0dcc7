// Writes that wait for a quieter moment.
//
// A hot pack comes in one piece, just before the container that reads it begins to run. Its chunks
// are read from memory then, and writing them to the disk (which is copying them into the page
// cache, for the processor) is work that the start waits for where there is no processor to spare:
// of a start of 2 s it was 5 %. So these writes wait until the start is over, most likely: not for
// long, because what is not written is fetched again after a crash, and not with much memory.
#pragma once

#include <atomic>
#include <cstdint>
#include <deque>
#include <functional>
#include <mutex>

#include "base/clock.h"
#include "base/worker_pool.h"

namespace runnel::cache {

// Any thread may call any method.
class WriteBehind {
 public:
  struct Limits {
    Duration longest = std::chrono::seconds(2);
    uint64_t most_bytes = uint64_t{128} << 20;
  };

  // Both outlive this.
  WriteBehind(WorkerPool& pool, const Clock& clock, const Limits& limits);
  // Hands all to the pool.
  ~WriteBehind();
  WriteBehind(const WriteBehind&) = delete;
  WriteBehind& operator=(const WriteBehind&) = delete;

  // Hands `write`, which keeps `bytes` in memory until it has run, to the pool: when it has waited
  // for the longest time and somebody calls expire(), or when too much waits behind it.
  void submit(uint64_t bytes, std::function<void()> write);
  void expire(SteadyTime now);

  // Of those that the pool does not have yet. Takes no lock.
  uint64_t waiting_bytes() const { return waiting_bytes_; }

 private:
  struct Write {
    SteadyTime due;
    uint64_t bytes;
    std::function<void()> run;
  };

  void release_first_locked();

  WorkerPool& pool_;
  const Clock& clock_;
  const Limits limits_;
  std::mutex mutex_;
  std::deque<Write> waiting_;  // in the order in which they came, and are due
  std::atomic<uint64_t> waiting_bytes_ = 0;
};

}  // namespace runnel::cache
