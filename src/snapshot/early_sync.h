// Brings layers to disk while containerd still unpacks them.
//
// A commit answers only when its layer is on disk, and containerd waits for it. Unpacking takes a
// processor, writing a disk: done one after the other a pull takes the sum of both. So from the
// moment that a layer is being unpacked a thread syncs the file system again and again, and the
// commit finds little left to write. Rejected: a commit that does not sync, as containerd's own
// overlayfs does it: a power failure then leaves layers of empty files that nobody looks at again.
// Measured with tools/ordinary-pulls.
//
// A writeback error is reported once to each descriptor that was open when it happened, and to
// nobody else when somebody saw it (errseq_t in the kernel; syncfs(2) reports since 5.8). So one
// descriptor is open from the start on, which only finish() asks: what it reports counts against
// every snapshot that was begun by then, for as long as that one is active. One descriptor however
// many containers there are; the thread has others. An error from before a snapshot's begin that
// nobody had asked for is held against it too: one unpacking too many, never one too few.
//
// A snapshot that another process had begun cannot be finished: a loss that somebody saw before
// this descriptor was opened is told to nobody any more.
#pragma once

#include <chrono>
#include <condition_variable>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <thread>

#include "base/error.h"
#include "base/fd.h"

namespace runnel::snapshot {

// Any thread may call any method.
class EarlySync {
 public:
  struct Options {
    // Between two syncs; at least as long as the last one took, so that others get the disk too.
    std::chrono::milliseconds pause{100};
    // After that long the thread leaves a layer to its commit's own sync.
    std::chrono::milliseconds give_up{std::chrono::minutes(10)};
    std::function<int(int)> syncfs;  // ::syncfs, unless a test brings another
  };

  // Whether the thread has work with it: a container's files need not be on disk.
  enum class Use : uint8_t { kUnpack, kWrite };

  // `directory` is on the file system to be synced.
  static Result<std::unique_ptr<EarlySync>> open(const std::string& directory) {
    return open(directory, Options());
  }
  static Result<std::unique_ptr<EarlySync>> open(const std::string& directory, Options options);
  ~EarlySync();

  // Before anything is written into the snapshot of that number, which nobody else ever has.
  void begin(int64_t number, Use use);
  // What is in the snapshot is to be kept: returns when it is on disk. An error when any write to
  // the file system was lost since begin(), and then again each time; kConflict when it was not
  // begun with this object.
  Result<void> finish(int64_t number);
  // The snapshot is committed, or gone. One that was not begun is nothing.
  void drop(int64_t number);

 private:
  using Time = std::chrono::steady_clock::time_point;
  struct Snapshot {
    uint64_t losses_before;  // losses_ at its begin
    Time early_until;
  };

  EarlySync(std::string directory, UniqueFd fd, Options options);
  void run(const std::stop_token& stop);
  bool is_wanted(Time now);

  const std::string directory_;
  const Options options_;
  const UniqueFd fd_;      // sees every loss
  std::mutex sync_mutex_;  // over a sync of fd_ and the count of what it said; before mutex_
  std::mutex mutex_;
  std::condition_variable_any changed_;
  uint64_t losses_ = 0;  // syncs of fd_ that failed
  std::map<int64_t, Snapshot> snapshots_;
  std::jthread thread_;  // last: it uses all of the above
};

}  // namespace runnel::snapshot
