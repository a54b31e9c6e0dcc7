// Counts what is under way, so that whoever owns what it needs can wait until nothing is.
#pragma once

#include <condition_variable>
#include <cstddef>
#include <mutex>

namespace runnel {

// Any thread may call any method.
class WaitGroup {
 public:
  void enter() {
    const std::lock_guard lock(mutex_);
    ++inside_;
  }
  // Once for each enter().
  void leave() {
    const std::lock_guard lock(mutex_);
    // With the lock held: who waits may destroy this as soon as he has it.
    if (--inside_ == 0) changed_.notify_all();
  }
  // Returns when nothing is inside. Something may enter later, unless the caller knows better.
  void wait() {
    std::unique_lock lock(mutex_);
    changed_.wait(lock, [this] { return inside_ == 0; });
  }

 private:
  std::mutex mutex_;
  std::condition_variable changed_;
  size_t inside_ = 0;
};

}  // namespace runnel
