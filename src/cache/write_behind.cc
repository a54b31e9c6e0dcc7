#include "cache/write_behind.h"

#include <utility>

namespace runnel::cache {

WriteBehind::WriteBehind(WorkerPool& pool, const Clock& clock, const Limits& limits)
    : pool_(pool), clock_(clock), limits_(limits) {}

WriteBehind::~WriteBehind() {
  expire(SteadyTime::max());
}

void WriteBehind::submit(uint64_t bytes, std::function<void()> write) {
  const std::lock_guard lock(mutex_);
  waiting_.push_back(
      {.due = clock_.now() + limits_.longest, .bytes = bytes, .run = std::move(write)});
  waiting_bytes_ += bytes;
  while (waiting_bytes_ > limits_.most_bytes) release_first_locked();
}

void WriteBehind::expire(SteadyTime now) {
  const std::lock_guard lock(mutex_);
  while (!waiting_.empty() && waiting_.front().due <= now) release_first_locked();
}

void WriteBehind::release_first_locked() {
  Write first = std::move(waiting_.front());
  waiting_.pop_front();
  waiting_bytes_ -= first.bytes;
  pool_.submit(std::move(first.run));
}

}  // namespace runnel::cache
