// cache/ keeps layers' device images on this node: one directory a layer blob below ROOT/cache,
// with the sparse device file (exactly what the kernel reads), the validity bits, and nothing else.
//
// It does not hold: images or mounts (node/, engine/), how bytes come over the network (fetch/).
//
//   ROOT/cache/lock         held by the process that uses the cache
//   ROOT/cache/HEX/         a layer: device, validity, and after a clean stop "clean", without
//   which
//                           no validity bit is believed
#pragma once

#include <atomic>
#include <condition_variable>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <thread>
#include <vector>

#include "base/clock.h"
#include "base/error.h"
#include "base/fd.h"
#include "base/worker_pool.h"
#include "cache/layer.h"
#include "oci/digest.h"

namespace runnel::cache {

// Any thread may call any method. One background thread makes writes durable every second and keeps
// the background fill going; another ends reads at their deadline and touches no file.
class Cache {
 public:
  struct Options {
    bool background_fill = true;
    size_t verify_threads = 2;
    size_t write_threads = 1;
    size_t rescue_threads = 2;
  };

  // kConflict when another process uses ROOT/cache. `clock` must outlive the cache.
  static Result<std::unique_ptr<Cache>> open(const std::string& root, const Options& options,
                                             const Clock& clock);
  // Every RangeSource must have been shut down: their answers use the cache's threads. Syncs, and
  // marks the layers for which that succeeded as clean.
  ~Cache();

  // The layer of that blob digest, opened or created; the same object for the same digest.
  Result<std::shared_ptr<Layer>> layer(const oci::Digest& digest, artifact::ChunkTable table,
                                       std::shared_ptr<fetch::RangeSource> source);
  // Null when it is not open.
  std::shared_ptr<Layer> find(const oci::Digest& digest) const;

  // Deletes every layer on disk for which `needed` says no. Returns the bytes that were freed.
  // Readers that still have a removed layer go on reading it.
  Result<uint64_t> clear(const std::function<bool(const oci::Digest&)>& needed);

 private:
  Cache(std::string directory, UniqueFd lock, const Options& options, const Clock& clock);
  void tend();
  void tend_layers();
  void keep_deadlines();
  std::vector<std::shared_ptr<Layer>> open_layers() const;

  const std::string directory_;
  const UniqueFd lock_;
  const Options options_;
  const Clock& clock_;
  std::atomic<uint64_t> kept_bytes_ = 0;
  std::unique_ptr<WorkerPool> rescue_;
  std::unique_ptr<WorkerPool> write_;
  std::unique_ptr<WorkerPool> verify_;

  std::mutex opening_;        // held over the disk; before mutex_
  mutable std::mutex mutex_;  // never held over the disk: the deadlines' thread takes it
  std::condition_variable stop_changed_;
  bool stopping_ = false;
  std::map<oci::Digest, std::shared_ptr<Layer>> layers_;
  std::thread tender_;
  std::thread deadlines_;
};

}  // namespace runnel::cache
