// cache/ keeps layers' device images on this node: one directory a layer blob below ROOT/cache,
// with the sparse device file (exactly what the kernel reads), the validity bits, and nothing else.
//
// It does not hold: images or mounts (node/, engine/), how bytes come over the network (fetch/).
//
//   ROOT/cache/lock         held by the process that uses the cache
//   ROOT/cache/clean        after a clean stop: the layers whose validity bits are believed
//   ROOT/cache/HEX/         a layer: device and validity; the mtime of the empty file "used" is its
//                           last use
//   ROOT/cache/HEX.gone/    one that is being deleted: without the rename, a crash could leave the
//                           bits and take the data; HEX.1.gone, … beside one that could not be
#pragma once

#include <atomic>
#include <condition_variable>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <set>
#include <string>
#include <thread>
#include <vector>

#include "base/clock.h"
#include "base/error.h"
#include "base/fd.h"
#include "base/wait_group.h"
#include "base/worker_pool.h"
#include "cache/budget.h"
#include "cache/layer.h"
#include "cache/scrubber.h"
#include "cache/write_behind.h"
#include "oci/digest.h"

namespace runnel::cache {

// Any thread may call any method. One background thread makes writes durable every second, measures
// the disk, keeps the background fill going and deletes what is over the budget; another ends reads
// at their deadline and touches no file; a third goes over the disk (scrubber).
class Cache {
 public:
  struct Disk {
    uint64_t bytes = 0;
    uint64_t free = 0;
  };
  struct Options {
    bool background_fill = true;
    bool read_ahead = true;
    bool share_chunks = true;  // layers take from each other what they both have
    size_t verify_threads = 2;
    size_t write_threads = 1;
    WriteBehind::Limits write_behind;
    size_t rescue_threads = 4;
    Limits limits;
    ScrubOptions scrub;
    // A layer that was just asked for is about to be mounted.
    Duration young = std::chrono::seconds(60);
    // Measures the file system; tests have others than the real one.
    std::function<Result<Disk>(const std::string& directory)> measure;
  };
  using Removed = std::function<void(const oci::Digest&, const std::shared_ptr<Layer>&)>;

  // kConflict when another process uses ROOT/cache. `clock` must outlive the cache, which does
  // nothing by itself before begin().
  static Result<std::unique_ptr<Cache>> open(const std::string& root, const Options& options,
                                             const Clock& clock);
  // Starts the background threads. Once, and when all that is mounted is pinned: from now on layers
  // that nobody has pinned may be deleted. Where the disk is full they are when this returns, for
  // opening one that is not there takes a block or two.
  void begin();
  // Every RangeSource must have been shut down. Waits for the answers that they still owe to
  // layers, which use the cache's threads; then syncs, and writes down for which layers that
  // succeeded: with one wait for the disk, besides those for what was not synced yet.
  ~Cache();

  // The layer of that blob digest, opened or created; the same object for the same digest. kInvalid
  // when it is open with another table: readers of the one would get what the other says is right.
  Result<std::shared_ptr<Layer>> layer(const oci::Digest& digest, artifact::ChunkTable table,
                                       std::shared_ptr<fetch::RangeSource> source);
  // Null when it is not open.
  std::shared_ptr<Layer> find(const oci::Digest& digest) const;

  // All open layers together.
  struct Totals {
    uint64_t layers = 0;
    uint64_t complete = 0;        // of those
    uint64_t bytes = 0;           // of their device images
    uint64_t bytes_present = 0;   // of those, here
    uint64_t unsynced_bytes = 0;  // verified, in memory, not durable yet
    uint64_t failed_reads = 0;
    uint64_t corrupt_chunks = 0;
    uint64_t bytes_restored = 0;  // made from original layers
    uint64_t bytes_borrowed = 0;  // taken from other layers
  };
  Totals totals() const;

  // Layer::credentials_changed() for all that are open.
  void credentials_changed();

  // `user` (a mount) has these layers: they are filled in the background and never deleted, until
  // unpin(). They need not be open.
  void pin(const std::string& user, const std::vector<oci::Digest>& digests);
  void unpin(const std::string& user);
  // All that is on the disk: for a mount of which nobody can say what it has.
  void pin_all(const std::string& user);

  // No image on this node needs these any more: unless they are pinned they go at once when the
  // disk is short, and otherwise when their turn comes.
  void release(const std::vector<oci::Digest>& digests);

  // Deletes every layer on disk that is not pinned. Returns the bytes that were freed, or the first
  // error when all has been tried. Readers that still have a removed layer go on reading it.
  Result<uint64_t> clear();

  // Asked when room is wanted and every layer is pinned: whether one is not any more. May call
  // pin() and unpin(). One call at a time; none of what was set before is under way when this
  // returns.
  using Unpinned = std::function<bool()>;
  void on_short_of_room(Unpinned unpinned);

  // Hears of each open layer that is deleted, before its files go (or do not: where that fails, the
  // layer stays open, and layer() gives it again); must not call the cache. Returns when no call of
  // the one before is under way.
  void on_removed(Removed removed);

  Budget::Status status() const { return budget_.status(); }
  // Of the layers that are open.
  struct ScrubStatus {
    uint64_t bytes = 0;
    uint64_t damaged = 0;
    uint64_t repaired = 0;
  };
  ScrubStatus scrub_status() const;

  // One round of the background thread's work, for tests.
  void tend_once();

 private:
  struct Entry {
    std::shared_ptr<Layer> layer;  // null: on disk only
    uint64_t bytes = 0;            // allocated on disk, as of the last measurement
    std::set<std::string> users;
    WallTime used{};     // the last time that it was asked for, mounted or unmounted
    SteadyTime asked{};  // the last layer() for it
    bool released = false;
    SteadyTime rests_until{};  // its deletion failed a moment ago
  };

  Cache(std::string directory, UniqueFd lock, const Options& options, const Clock& clock);
  Result<void> scan();
  std::string path_of(const oci::Digest& digest) const;
  void touch_locked(const oci::Digest& digest, Entry& entry);
  void measure();
  void make_room();
  void measure_and_make_room();
  std::optional<oci::Digest> least_recent_locked() const;
  Result<uint64_t> remove(const oci::Digest& digest);
  void put_back(const oci::Digest& digest, Entry kept);
  void remove_leftovers();
  void tend();
  void keep_deadlines();
  std::vector<std::shared_ptr<Layer>> open_layers() const;
  void close_layers();

  const std::string directory_;
  const UniqueFd lock_;
  const Options options_;
  const Clock& clock_;
  Budget budget_;
  std::atomic<uint64_t> kept_bytes_ = 0;
  ChunkIndex chunks_;
  std::unique_ptr<RescueQueue> rescue_;
  std::unique_ptr<WorkerPool> write_;
  std::unique_ptr<WriteBehind> behind_;
  std::unique_ptr<WorkerPool> verify_;
  WaitGroup at_work_;  // of layers, on verify_ or on the way there

  std::mutex tending_;        // one round at a time; before all others
  std::mutex room_;           // so that nobody deletes for an excess that is gone; before opening_
  std::mutex opening_;        // a layer is opened or deleted: held over the disk; before mutex_
  mutable std::mutex mutex_;  // never held over the disk: the deadlines' thread takes it
  std::condition_variable stop_changed_;
  bool stopping_ = false;
  std::map<oci::Digest, Entry> entries_;
  std::set<oci::Digest> closed_;  // on disk, not opened yet, and may be believed; under opening_
  Removed removed_;
  Unpinned unpinned_;                    // guarded by room_
  std::optional<SteadyTime> leftovers_;  // likewise: there are some, to be tried again then
  std::thread tender_;
  std::thread deadlines_;
  std::unique_ptr<Scrubber> scrubber_;
};

}  // namespace runnel::cache
