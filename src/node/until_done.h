// Something that did not work, and is tried again until it does.
#pragma once

#include <condition_variable>
#include <functional>
#include <mutex>
#include <thread>

#include "base/clock.h"

namespace runnel::node {

// start() and stop() are for one thread.
class UntilDone {
 public:
  // Returns whether nothing is left to do. May block, for a bounded time.
  using Attempt = std::function<bool()>;

  explicit UntilDone(Attempt attempt, Duration every = std::chrono::seconds(2));
  ~UntilDone() { stop(); }
  UntilDone(const UntilDone&) = delete;
  UntilDone& operator=(const UntilDone&) = delete;

  // A thread makes the first attempt after `every`, and ends with the last one.
  void start();
  // Waits for an attempt under way.
  void stop();

 private:
  void run();

  const Attempt attempt_;
  const Duration every_;
  std::mutex mutex_;
  std::condition_variable changed_;
  bool stopping_ = false;
  std::thread thread_;
};

}  // namespace runnel::node
