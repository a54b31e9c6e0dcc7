// The file system that the kernel's EROFS reads its devices from: one read-only file for each
// registered layer, named by the hex of its blob's digest, served on an inherited /dev/fuse.
//
// It speaks the FUSE protocol itself (linux/fuse.h), without libfuse: a worker takes over a
// connection in the middle, and libfuse would have to be told an INIT that never came; what is left
// is seven requests, of which one matters.
//
// The threads that read from /dev/fuse never wait for a disk: what is in the page cache they answer
// at once, everything else they hand to the cache's threads. Another thread keeps the deadlines and
// touches no file at all, so that a frozen or dying disk ends in EIO and not in a wait without end.
//
// A worker's death loses nothing: the descriptor is the holder's too, node ids follow from digests,
// and the kernel is asked to send again what the last worker had taken and not answered. No thread
// has a /dev/fuse clone of its own: requests taken through a clone die with it.
#pragma once

#include <atomic>
#include <condition_variable>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <thread>
#include <vector>

#include "base/bytes.h"
#include "base/clock.h"
#include "base/error.h"
#include "base/fd.h"
#include "cache/layer.h"
#include "oci/digest.h"

namespace runnel::engine {

// Any thread may call any method.
class DeviceFs {
 public:
  struct Options {
    size_t threads = 2;
    Duration read_timeout = std::chrono::seconds(60);
    // How long after the start a name that is not registered may still come: an earlier worker had
    // registered it, and the node is about to do so again.
    Duration grace = std::chrono::seconds(30);
    // Called ten times a second by the thread that keeps the deadlines.
    std::function<void()> alive = [] {};
  };

  struct Counters {
    uint64_t reads = 0;    // requests of the kernel
    uint64_t bytes = 0;    // answered
    uint64_t waited = 0;   // reads that were not in the page cache or not here at all
    uint64_t errors = 0;   // EIO
    uint64_t expired = 0;  // of those, at the deadline
  };

  // Starts to serve and asks the kernel to send again what was lost with an earlier worker. `fuse`
  // is a mounted connection whose INIT was answered (open_fuse_mount).
  static Result<std::unique_ptr<DeviceFs>> start(UniqueFd fuse, const Options& options,
                                                 const Clock& clock);
  // Requests that wait are left to the next worker; nothing is read from /dev/fuse any more. Reads
  // that layers still have under way are answered when they end.
  ~DeviceFs();

  // Serves the layer from now on. kConflict when another layer has its node id (64 bits of the
  // digest: somebody made that happen on purpose).
  Result<void> add(const oci::Digest& digest, std::shared_ptr<cache::Layer> layer);
  // Unless another object stands for it by now.
  void remove(const oci::Digest& digest, const std::shared_ptr<cache::Layer>& layer);

  // Whether the kernel can send lost requests again.
  bool can_resend() const { return can_resend_; }
  Counters counters() const;

 private:
  struct File;
  class Impl;

  explicit DeviceFs(std::unique_ptr<Impl> impl);

  const std::unique_ptr<Impl> impl_;
  bool can_resend_ = false;
};

}  // namespace runnel::engine
