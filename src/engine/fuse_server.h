// The threads that serve one FUSE connection.
//
// One of those that take requests from the kernel is always there to take the next one: it never
// waits for a disk. The others do what may wait themselves, and it is handed to the pool only when
// they are all at it: a request that is answered by the thread that took it costs the reader one
// change of threads there and one back, and not four. Another thread keeps the deadlines and
// touches no file at all.
//
// A request wakes one thread (EPOLLEXCLUSIVE), and not all that wait for the connection, as poll(2)
// would.
//
// No thread has a /dev/fuse clone of its own: requests taken through a clone die with it.
#pragma once

#include <atomic>
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

  // Handles `outstanding` first, unless it fails (the kernel has no watch to give). `alive` is
  // called ten times a second by the thread that keeps the deadlines, for the first time when it
  // has looked at them a moment after the start.
  Result<void> start(size_t threads, std::function<void()> alive, Handle handle,
                     const std::vector<FuseRequest>& outstanding);

  // Runs `task`, which may wait for a disk: before this returns, when a thread calls it that took a
  // request and another one is left to take the next; in the pool otherwise. Before start() returns
  // nothing may be submitted.
  void submit(std::function<void()> task);

 private:
  void serve(const UniqueFd& watched);
  Result<UniqueFd> watch() const;
  bool leave_taking();
  void keep_deadlines();

  const std::shared_ptr<FuseConnection> connection_;
  const Clock& clock_;
  const UniqueFd stop_;
  Handle handle_;
  std::function<void()> alive_;

  std::mutex mutex_;
  std::condition_variable changed_;
  bool stopping_ = false;

  std::atomic<size_t> taking_ = 0;  // threads that take requests, less those that run a task
  std::vector<std::thread> threads_;
  WorkerPool pool_;  // last: its tasks use all of the above
};

}  // namespace runnel::engine
