#include "node/until_done.h"

#include <utility>

namespace runnel::node {

UntilDone::UntilDone(Attempt attempt, Duration every)
    : attempt_(std::move(attempt)), every_(every) {}

void UntilDone::start() {
  thread_ = std::thread([this] { run(); });
}

void UntilDone::stop() {
  {
    const std::lock_guard lock(mutex_);
    stopping_ = true;
  }
  changed_.notify_all();
  if (thread_.joinable()) thread_.join();
}

void UntilDone::run() {
  std::unique_lock lock(mutex_);
  while (!changed_.wait_for(lock, every_, [this] { return stopping_; })) {
    lock.unlock();
    const bool done = attempt_();
    lock.lock();
    if (done) return;
  }
}

}  // namespace runnel::node
