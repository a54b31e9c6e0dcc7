// Brings everything of the mounted images onto this node, before it goes away: containers that read
// from them then need no registry, only the process that serves the mounts.
#pragma once

#include <memory>
#include <mutex>
#include <string>
#include <thread>

#include "base/error.h"
#include "engine/engine.h"

namespace runnel::node {

// Any thread may call any method.
class Completion {
 public:
  explicit Completion(const engine::Engine& engine) : engine_(engine) {}
  // Leaves what is under way alone; its answers are then ignored. The engine must outlive it.
  ~Completion();

  // Starts, unless it runs.
  void start();

  struct Status {
    bool running = false;
    bool complete = false;       // at the last look: every layer of every mount is here, durably
    uint64_t bytes_missing = 0;  // of them
    std::string error;           // why the last run gave up
  };
  Status status() const;

 private:
  void run(const std::stop_token& stop);

  const engine::Engine& engine_;
  mutable std::mutex mutex_;
  bool running_ = false;
  std::string error_;
  std::jthread thread_;  // last: it uses all of the above
};

}  // namespace runnel::node
