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
// nobody else when somebody saw it. So each layer has a descriptor from its begin on, which only
// its finish() asks; the thread has others.
#pragma once

#include <chrono>
#include <condition_variable>
#include <functional>
#include <map>
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
    // A layer that was neither finished nor dropped by then is synced by its commit alone.
    std::chrono::milliseconds give_up{std::chrono::minutes(10)};
    std::function<int(int)> syncfs;  // ::syncfs, unless a test brings another
  };

  // `directory` is on the file system to be synced.
  explicit EarlySync(std::string directory) : EarlySync(std::move(directory), Options()) {}
  EarlySync(std::string directory, Options options);
  ~EarlySync();

  // A layer is unpacked from now on. Beginning again what was begun changes nothing.
  void begin(const std::string& key);
  // The layer is whole: returns when it is on disk. An error when any write since begin() was lost;
  // for a layer that was not begun, since the last time that somebody was told.
  Result<void> finish(const std::string& key);
  // The layer is not wanted any more.
  void drop(const std::string& key);

 private:
  using Time = std::chrono::steady_clock::time_point;
  struct Layer {
    UniqueFd fd;
    Time until;
  };

  void run(const std::stop_token& stop);
  bool is_wanted(Time now);
  Result<UniqueFd> open() const;

  const std::string directory_;
  const Options options_;
  std::mutex mutex_;
  std::condition_variable_any changed_;
  std::map<std::string, Layer> layers_;
  std::jthread thread_;  // last: it uses all of the above
};

}  // namespace runnel::snapshot
