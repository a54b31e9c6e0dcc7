#include "node/letting_go.h"

#include <utility>

namespace runnel::node {

LettingGo::LettingGo(const Clock& clock, Duration patience, Unused unused, LetGo let_go)
    : clock_(clock), patience_(patience), unused_(std::move(unused)), let_go_(std::move(let_go)) {}

void LettingGo::start() {
  thread_ = std::thread([this] { run(); });
}

void LettingGo::stop() {
  {
    const std::lock_guard lock(mutex_);
    stopping_ = true;
  }
  changed_.notify_all();
  if (thread_.joinable()) thread_.join();
}

void LettingGo::wanted(const oci::Digest& manifest) {
  const std::lock_guard lock(mutex_);
  since_.erase(manifest);
}

void LettingGo::look() {
  const auto unused = unused_();
  std::vector<oci::Digest> due;
  {
    const std::lock_guard lock(mutex_);
    const auto now = clock_.now();
    std::map<oci::Digest, SteadyTime> since;
    for (const auto& manifest : unused) {
      const auto known = since_.find(manifest);
      const auto begin = known == since_.end() ? now : known->second;
      if (now - begin >= patience_) {
        due.push_back(manifest);
      } else {
        since.emplace(manifest, begin);
      }
    }
    since_ = std::move(since);
  }
  for (const auto& manifest : due) let_go_(manifest);
}

void LettingGo::run() {
  std::unique_lock lock(mutex_);
  while (!changed_.wait_for(lock, patience_ / 4, [this] { return stopping_; })) {
    lock.unlock();
    look();
    lock.lock();
  }
}

}  // namespace runnel::node
