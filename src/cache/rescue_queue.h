// The threads that make layers from their originals, and whose turn it is.
//
// A rescue is a whole download, and each piece of it may keep a thread for a minute. So they do not
// go in the order in which they were asked for, or readers would wait behind rescues that only the
// background fill wants, and at a registry that is well behind another's that stalls.
#pragma once

#include <condition_variable>
#include <cstddef>
#include <functional>
#include <list>
#include <map>
#include <mutex>
#include <optional>
#include <string>
#include <thread>
#include <vector>

#include "base/clock.h"

namespace runnel::cache {

// Any thread may call any method. What a reader waits for goes first, the one with the least time
// left before all. What nobody waits for has one thread at most. No registry takes a thread when
// fewer would be left for the others than it has.
class RescueQueue {
 public:
  struct Job {
    std::string registry;  // that it downloads from
    // Until when somebody waits for it; nullopt: nobody does. Called again and again, with the
    // queue's lock held.
    std::function<std::optional<SteadyTime>()> deadline;
    std::function<void()> run;  // must not throw
  };

  explicit RescueQueue(size_t threads);
  // Waits for what runs. What has not begun never does.
  ~RescueQueue();
  RescueQueue(const RescueQueue&) = delete;
  RescueQueue& operator=(const RescueQueue&) = delete;

  void submit(Job job);
  // Somebody may wait by now for what nobody waited for. To be called from time to time.
  void look_again();

 private:
  using Jobs = std::list<Job>;
  struct Next {
    Jobs::iterator job;
    bool for_nobody = false;
  };

  void work();
  std::optional<Next> next_locked();
  bool may_begin_locked(const Job& job, bool for_nobody) const;

  std::mutex mutex_;  // a layer's comes after it
  std::condition_variable changed_;
  Jobs waiting_;  // in the order in which they came
  size_t idle_threads_;
  size_t for_nobody_ = 0;                  // running ones for which nobody waited
  std::map<std::string, size_t> running_;  // by registry
  bool stopping_ = false;
  std::vector<std::thread> threads_;
};

}  // namespace runnel::cache
