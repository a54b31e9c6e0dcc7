// Directories of snapshots that nobody wants yet, already on disk.
//
// A snapshot's directories must survive a power failure before a record names them, which takes
// three syncs, a third of what the snapshotter needs to answer for a new container. Between two
// containers nobody waits for them. Rejected: a record whose directory may be missing after a power
// failure and is made again then: nobody could tell it from one that was taken away from outside.
#pragma once

#include <chrono>
#include <condition_variable>
#include <cstdint>
#include <functional>
#include <mutex>
#include <optional>
#include <thread>
#include <vector>

#include "base/error.h"

namespace runnel::snapshot {

// Any thread may call any method.
class SpareDirectories {
 public:
  struct Options {
    // A pod makes two, of its sandbox and of its container, and many come alone.
    size_t most = 4;
    // Since the last was taken: what a container's start syncs comes first.
    std::chrono::milliseconds rest{1000};
  };
  // Makes one, durably, and returns its number. Called on a thread of this object's.
  using Make = std::function<Result<int64_t>()>;
  // Removes one that nobody has taken.
  using Remove = std::function<void(int64_t number)>;

  SpareDirectories(Make make, Remove remove) : SpareDirectories(make, remove, Options()) {}
  // Begins to make them at once.
  SpareDirectories(Make make, Remove remove, Options options);
  // Removes those that are left.
  ~SpareDirectories();

  // One that is the caller's from now on; nothing when there is none just now.
  std::optional<int64_t> take();

 private:
  void run(const std::stop_token& stop);

  const Make make_;
  const Remove remove_;
  const Options options_;
  std::mutex mutex_;
  std::condition_variable_any changed_;
  std::vector<int64_t> numbers_;
  std::chrono::steady_clock::time_point not_before_{};
  bool failed_ = false;  // until the next is asked for
  std::jthread thread_;  // last: it uses all of the above
};

}  // namespace runnel::snapshot
