#include "snapshot/spare_directories.h"

#include <utility>

#include "base/log.h"

namespace runnel::snapshot {

using std::chrono::steady_clock;

SpareDirectories::SpareDirectories(Make make, Remove remove, Options options)
    : make_(std::move(make)),
      remove_(std::move(remove)),
      options_(options),
      thread_([this](const std::stop_token& stop) { run(stop); }) {}

SpareDirectories::~SpareDirectories() {
  thread_.request_stop();
  thread_.join();
  for (const int64_t number : numbers_) remove_(number);
}

std::optional<int64_t> SpareDirectories::take() {
  const std::lock_guard lock(mutex_);
  not_before_ = steady_clock::now() + options_.rest;
  failed_ = false;
  changed_.notify_all();
  if (numbers_.empty()) return std::nullopt;
  const int64_t number = numbers_.back();
  numbers_.pop_back();
  return number;
}

void SpareDirectories::run(const std::stop_token& stop) {
  std::unique_lock lock(mutex_);
  while (!stop.stop_requested()) {
    changed_.wait(lock, stop, [this] { return !failed_ && numbers_.size() < options_.most; });
    if (stop.stop_requested()) return;
    if (const auto until = not_before_; steady_clock::now() < until) {
      changed_.wait_until(lock, stop, until, [] { return false; });
      continue;
    }
    lock.unlock();
    const auto made = make_();
    lock.lock();
    failed_ = !made;
    if (made) {
      numbers_.push_back(*made);
    } else {
      log::warning("no directory for the next snapshot: {}", made.error().message);
    }
  }
}

}  // namespace runnel::snapshot
