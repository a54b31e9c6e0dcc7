// The snapshotter that calls wait for while a worker starts.
#pragma once

#include <chrono>
#include <condition_variable>
#include <mutex>

#include "snapshot/snapshotter.h"

namespace runnel::snapshot {

// Thread-safe.
class Attachment {
 public:
  void set(Snapshotter& snapshotter);
  // From now on nobody waits any more; who has a snapshotter may go on with it. The first time it
  // returns that, if there is one.
  Snapshotter* close();

  // Waits for set(). Null after `limit`, or when closed before.
  Snapshotter* wait(std::chrono::nanoseconds limit);

 private:
  std::mutex mutex_;
  std::condition_variable changed_;
  Snapshotter* snapshotter_ = nullptr;
  bool closed_ = false;
};

}  // namespace runnel::snapshot
