#include "node/letting_go.h"

#include <utility>

namespace runnel::node {

template <class Key>
LettingGo<Key>::LettingGo(const Clock& clock, Duration patience, Unused unused, LetGo let_go)
    : clock_(clock), patience_(patience), unused_(std::move(unused)), let_go_(std::move(let_go)) {}

template <class Key>
void LettingGo<Key>::start() {
  thread_ = std::thread([this] { run(); });
}

template <class Key>
void LettingGo<Key>::stop() {
  {
    const std::lock_guard lock(mutex_);
    stopping_ = true;
  }
  changed_.notify_all();
  if (thread_.joinable()) thread_.join();
}

template <class Key>
void LettingGo<Key>::wanted(const Key& key) {
  const std::lock_guard lock(mutex_);
  since_.erase(key);
}

template <class Key>
void LettingGo<Key>::look() {
  const auto unused = unused_();
  std::vector<Key> due;
  {
    const std::lock_guard lock(mutex_);
    const auto now = clock_.now();
    std::map<Key, SteadyTime> since;
    for (const auto& key : unused) {
      const auto known = since_.find(key);
      const auto begin = known == since_.end() ? now : known->second;
      if (now - begin >= patience_) {
        due.push_back(key);
      } else {
        since.emplace(key, begin);
      }
    }
    since_ = std::move(since);
  }
  for (const auto& key : due) let_go_(key);
}

template <class Key>
void LettingGo<Key>::run() {
  std::unique_lock lock(mutex_);
  while (!changed_.wait_for(lock, patience_ / 4, [this] { return stopping_; })) {
    lock.unlock();
    look();
    lock.lock();
  }
}

template class LettingGo<oci::Digest>;
template class LettingGo<std::string>;

}  // namespace runnel::node
