#include "base/worker_pool.h"

#include <pthread.h>
#include <sched.h>

namespace runnel {

WorkerPool::WorkerPool(size_t threads, Work work) {
  threads_.reserve(threads);
  for (size_t i = 0; i < threads; ++i) {
    threads_.emplace_back([this] { run(); });
    if (work == Work::kUsual) continue;
    // From here, so that it is done when the threads' owner gives its rights away. Only faster.
    const sched_param none{};
    ::pthread_setschedparam(threads_.back().native_handle(), SCHED_BATCH, &none);
  }
}

WorkerPool::~WorkerPool() {
  finish();
}

void WorkerPool::finish() {
  {
    const std::lock_guard lock(mutex_);
    stopping_ = true;
  }
  ready_.notify_all();
  for (auto& thread : threads_) thread.join();
  threads_.clear();
}

void WorkerPool::submit(std::function<void()> task) {
  {
    const std::lock_guard lock(mutex_);
    tasks_.push_back(std::move(task));
  }
  ready_.notify_one();
}

void WorkerPool::run() {
  for (;;) {
    std::function<void()> task;
    {
      std::unique_lock lock(mutex_);
      ready_.wait(lock, [this] { return stopping_ || !tasks_.empty(); });
      if (tasks_.empty()) return;
      task = std::move(tasks_.front());
      tasks_.pop_front();
    }
    task();
  }
}

}  // namespace runnel
