#include "cache/rescue_queue.h"

#include <utility>

namespace runnel::cache {

RescueQueue::RescueQueue(size_t threads) : idle_threads_(threads) {
  threads_.reserve(threads);
  for (size_t i = 0; i < threads; ++i) threads_.emplace_back([this] { work(); });
}

RescueQueue::~RescueQueue() {
  {
    const std::lock_guard lock(mutex_);
    stopping_ = true;
  }
  changed_.notify_all();
  for (auto& thread : threads_) thread.join();
}

void RescueQueue::submit(Job job) {
  {
    const std::lock_guard lock(mutex_);
    waiting_.push_back(std::move(job));
  }
  changed_.notify_one();
}

void RescueQueue::look_again() {
  {
    const std::lock_guard lock(mutex_);
    if (waiting_.empty()) return;
  }
  changed_.notify_one();
}

void RescueQueue::work() {
  std::unique_lock lock(mutex_);
  for (;;) {
    std::optional<Next> next;
    changed_.wait(lock, [&] { return stopping_ || (next = next_locked()); });
    if (stopping_) return;
    Jobs taken;
    taken.splice(taken.begin(), waiting_, next->job);
    const auto& job = taken.front();
    --idle_threads_;
    ++running_[job.registry];
    if (next->for_nobody) ++for_nobody_;
    changed_.notify_one();  // there may be another for the next thread
    lock.unlock();
    job.run();
    lock.lock();
    ++idle_threads_;
    if (--running_[job.registry] == 0) running_.erase(job.registry);
    if (next->for_nobody) --for_nobody_;
    changed_.notify_one();
    lock.unlock();
    taken.clear();  // the layer may go with it
    lock.lock();
  }
}

std::optional<RescueQueue::Next> RescueQueue::next_locked() {
  std::optional<Next> next;
  auto earliest = SteadyTime::max();
  for (auto job = waiting_.begin(); job != waiting_.end(); ++job) {
    const auto deadline = job->deadline();
    if (!may_begin_locked(*job, !deadline)) continue;
    const auto until = deadline.value_or(SteadyTime::max());
    if (next && until >= earliest) continue;
    next = Next{.job = job, .for_nobody = !deadline};
    earliest = until;
  }
  return next;
}

bool RescueQueue::may_begin_locked(const Job& job, bool for_nobody) const {
  if (for_nobody && for_nobody_ > 0) return false;
  const auto found = running_.find(job.registry);
  return found == running_.end() || idle_threads_ > found->second;
}

}  // namespace runnel::cache
