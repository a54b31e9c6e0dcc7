// A fixed number of threads that run tasks in the order in which they were submitted.
#pragma once

#include <condition_variable>
#include <cstddef>
#include <cstdint>
#include <deque>
#include <functional>
#include <mutex>
#include <thread>
#include <vector>

namespace runnel {

// submit() may be called from any thread, a task included. The queue is not bounded: who feeds the
// pool bounds what it has in flight. Tasks must not throw.
class WorkerPool {
 public:
  enum class Work : uint8_t {
    kUsual,
    // Long computations for a thread that makes more of them: it goes on when it has submitted one,
    // where the kernel would otherwise give its processor to the thread that it woke
    // (SCHED_BATCH, sched(7)).
    kBulk,
  };

  explicit WorkerPool(size_t threads, Work work = Work::kUsual);
  // finish().
  ~WorkerPool();

  void submit(std::function<void()> task);
  // Runs what was submitted before, then joins the threads: what comes later never runs. For one
  // thread, which is none of the pool's.
  void finish();

 private:
  void run();

  std::mutex mutex_;
  std::condition_variable ready_;
  std::deque<std::function<void()>> tasks_;
  bool stopping_ = false;
  std::vector<std::thread> threads_;
};

}  // namespace runnel
