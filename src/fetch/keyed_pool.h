// Threads that run tasks of many parties (registries, say), one of which may make its tasks slow:
// it never has all threads. Otherwise as WorkerPool: in the order in which they were submitted.
#pragma once

#include <condition_variable>
#include <cstddef>
#include <deque>
#include <functional>
#include <map>
#include <mutex>
#include <string>
#include <thread>
#include <vector>

namespace runnel::fetch {

// submit() may be called from any thread, a task included. The queue is not bounded: who feeds the
// pool bounds what it has in flight. Tasks must not throw.
class KeyedPool {
 public:
  // Of one key's tasks at most `most_of_one` run at a time, fewer than there are threads.
  KeyedPool(size_t threads, size_t most_of_one);
  // Runs what was submitted, then joins the threads.
  ~KeyedPool();

  void submit(std::string key, std::function<void()> task);

 private:
  struct Task {
    std::string key;
    std::function<void()> run;
  };
  void run();
  std::deque<Task>::iterator next_locked();

  const size_t most_of_one_;
  std::mutex mutex_;
  std::condition_variable ready_;
  std::deque<Task> tasks_;
  std::map<std::string, size_t> running_;  // by key
  bool stopping_ = false;
  std::vector<std::thread> threads_;
};

}  // namespace runnel::fetch
