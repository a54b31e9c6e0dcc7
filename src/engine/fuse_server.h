// The threads that serve one FUSE connection.
//
// Those that take requests from the kernel never wait for a disk: what may wait they hand to the
// pool. Another thread keeps the deadlines and touches no file at all.
//
// No thread has a /dev/fuse clone of its own: requests taken through a clone die with it.
#pragma once

#include <condition_variable>
#include <functional>
#include <memory>
#include <mutex>
#include <thread>
#include <vector>

#include "base/clock.h"
#include "base/fd.h"
#include "base/worker_pool.h"
#include "engine/fuse_connection.h"

namespace runnel::engine {

class FuseServer {
 public:
  // Answers the request, now or later. `scratch` (possibly empty) is this thread's to use.
  using Handle = std::function<void(const FuseRequest&, MutableBytes scratch)>;

  // Serves from start() until destruction; what is then unanswered is left to the next worker.
  FuseServer(std::shared_ptr<FuseConnection> connection, const Clock& clock);
  ~FuseServer();

  // Handles `outstanding` first. `alive` is called ten times a second by the thread that keeps the
  // deadlines, for the first time when it has looked at them a moment after the start.
  void start(size_t threads, std::function<void()> alive, Handle handle,
             const std::vector<FuseRequest>& outstanding);

  // Runs `task`, which may wait for a disk. Before start() returns nothing may be submitted.
  void submit(std::function<void()> task) { pool_.submit(std::move(task)); }

 private:
  void serve();
  void keep_deadlines();

  const std::shared_ptr<FuseConnection> connection_;
  const Clock& clock_;
  const UniqueFd stop_;
  Handle handle_;
  std::function<void()> alive_;

  std::mutex mutex_;
  std::condition_variable changed_;
  bool stopping_ = false;

  std::vector<std::thread> threads_;
  WorkerPool pool_;  // last: its tasks use all of the above
};

}  // namespace runnel::engine
