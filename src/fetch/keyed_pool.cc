#include "fetch/keyed_pool.h"

#include <algorithm>
#include <utility>

#include "base/error.h"

namespace runnel::fetch {

KeyedPool::KeyedPool(size_t threads, size_t most_of_one) : most_of_one_(most_of_one) {
  RUNNEL_CHECK(most_of_one > 0 && most_of_one < threads);
  threads_.reserve(threads);
  for (size_t i = 0; i < threads; ++i) threads_.emplace_back([this] { run(); });
}

KeyedPool::~KeyedPool() {
  {
    const std::lock_guard lock(mutex_);
    stopping_ = true;
  }
  ready_.notify_all();
  for (auto& thread : threads_) thread.join();
}

void KeyedPool::submit(std::string key, std::function<void()> task) {
  {
    const std::lock_guard lock(mutex_);
    tasks_.push_back({.key = std::move(key), .run = std::move(task)});
  }
  ready_.notify_one();
}

std::deque<KeyedPool::Task>::iterator KeyedPool::next_locked() {
  return std::ranges::find_if(tasks_, [this](const Task& task) {
    const auto running = running_.find(task.key);
    return running == running_.end() || running->second < most_of_one_;
  });
}

// A thread that has done a task takes the next one itself, so nobody is woken for what it made
// possible.
void KeyedPool::run() {
  std::unique_lock lock(mutex_);
  for (;;) {
    ready_.wait(lock,
                [this] { return next_locked() != tasks_.end() || (stopping_ && tasks_.empty()); });
    const auto next = next_locked();
    if (next == tasks_.end()) return;
    Task task = std::move(*next);
    tasks_.erase(next);
    ++running_[task.key];
    lock.unlock();
    task.run();
    task.run = nullptr;  // what it holds goes without the lock
    lock.lock();
    if (--running_[task.key] == 0) running_.erase(task.key);
    if (stopping_) ready_.notify_all();
  }
}

}  // namespace runnel::fetch
