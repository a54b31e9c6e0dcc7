#include "node/tree_keeper.h"

#include <algorithm>
#include <utility>

#include "base/log.h"

namespace runnel::node {

TreeKeeper::TreeKeeper(Keep keep, Duration delay, Duration retry)
    : keep_(std::move(keep)), delay_(delay), retry_(retry), thread_([this] { run(); }) {}

TreeKeeper::~TreeKeeper() {
  {
    const std::lock_guard lock(mutex_);
    stopping_ = true;
  }
  changed_.notify_all();
  thread_.join();
}

void TreeKeeper::add(const std::shared_ptr<const StreamedImage>& image) {
  const std::lock_guard lock(mutex_);
  due_.push_back({.at = std::chrono::steady_clock::now() + delay_, .image = image});
  changed_.notify_all();
}

void TreeKeeper::run() {
  std::unique_lock lock(mutex_);
  while (!stopping_) {
    const auto next = std::ranges::min_element(due_, {}, &Due::at);
    if (next == due_.end()) {
      changed_.wait(lock);
      continue;
    }
    if (next->at > std::chrono::steady_clock::now()) {
      changed_.wait_until(lock, SteadyTime(next->at));
      continue;
    }
    auto image = next->image.lock();
    due_.erase(next);
    if (!image) continue;
    lock.unlock();
    const auto kept = keep_(*image);
    lock.lock();
    if (kept || stopping_) continue;
    log::info("{}: its trees are not all here yet: {}", image->name(), kept.error().message);
    due_.push_back({.at = std::chrono::steady_clock::now() + retry_, .image = image});
  }
}

}  // namespace runnel::node
