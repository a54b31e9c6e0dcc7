// What each call of containerd's snapshotter interface does.
//
// An ordinary snapshot is a directory ROOT/s/NUMBER with fs (its content, or an upper directory)
// and work; a streamed one has no directory, its content is what Streaming mounts for its chain ID.
// A snapshot with an ID mapping also has lower, with a mapped mount of each directory below it.
// A chain of parents is the ordinary directories down to the first streamed snapshot, whose mount
// shows everything below.
//
// A directory is made, durably, before its record and removed after it: one without a record is
// rubbish that cleanup() removes, and a record whose directory is missing was harmed from outside:
// that is an error, never an empty snapshot. Some are made ahead, as ROOT/s/spare-NUMBER
// (SpareDirectories), and renamed when a snapshot wants one. What a commit covers is on disk before
// its record says "committed", or a power failure would leave layers whose files are empty; when
// anything was lost on its way to disk since the snapshot was prepared, or that cannot be known,
// the commit fails.
//
// containerd takes "already exists" and "not found" for answers about a snapshot, so what fails
// below (a directory, a mount) never leaves here under these names.
#pragma once

#include <condition_variable>
#include <memory>
#include <mutex>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "base/clock.h"
#include "base/error.h"
#include "snapshot/early_sync.h"
#include "snapshot/id_mapping.h"
#include "snapshot/snapshot.h"
#include "snapshot/spare_directories.h"
#include "snapshot/store.h"
#include "snapshot/streaming.h"

namespace runnel::snapshot {

// Any thread may call any method.
class Snapshotter {
 public:
  static constexpr Duration kChainPatience = std::chrono::seconds(60);

  // Creates ROOT/s and cleans up. kInvalid when overlayfs's options cannot carry the path (':', ','
  // and '\\' mean something there). The references must outlive it.
  // `chain_patience`: how long a call waits for another one about the same chain.
  static Result<std::unique_ptr<Snapshotter>> open(const std::string& root, Store& store,
                                                   Streaming& streaming,
                                                   Duration chain_patience = kChainPatience);

  // kExists also when the chain that the target label names streams: the caller need not unpack it.
  // kUnavailable, as for view(), when another call is about that chain for too long.
  Result<std::vector<Mount>> prepare(const std::string& key, const std::string& parent,
                                     const Labels& labels);
  Result<std::vector<Mount>> view(const std::string& key, const std::string& parent,
                                  const Labels& labels);
  Result<std::vector<Mount>> mounts(const std::string& key);
  // kUnavailable when writes were lost since the snapshot was prepared, or another process had
  // prepared it (EarlySync); the snapshot stays as it is.
  Result<void> commit(const std::string& key, const std::string& name, const Labels& labels);
  Result<void> remove(const std::string& name);
  Result<Info> stat(const std::string& name) const;
  // Changes the labels that `fields` names ("labels", "labels.NAME"; empty: all of them).
  Result<Info> update(const Info& info, const std::vector<std::string>& fields);
  Result<std::vector<Info>> list(const std::vector<std::string>& filters) const;
  Result<Usage> usage(const std::string& name);
  Result<void> cleanup();
  // The process ends: who waits for a verdict gets kUnavailable instead. Other calls go on.
  void begin_stop() { streaming_.begin_stop(); }

 private:
  // Keeps calls about one chain ID one after the other.
  class ChainLock;
  // A directory that has no record yet: cleanup() leaves it alone.
  class NewDirectory;

  Snapshotter(std::string directory, Store& store, Streaming& streaming,
              std::unique_ptr<EarlySync> early_sync, Duration chain_patience)
      : directory_(std::move(directory)),
        store_(store),
        streaming_(streaming),
        early_sync_(std::move(early_sync)),
        chain_patience_(chain_patience) {}

  Result<bool> streams(const std::string& target, const std::string& parent, const Labels& labels);
  void forget_unless_held(const std::string& chain_id);
  Result<std::vector<Mount>> create(Kind kind, const std::string& key, const std::string& parent,
                                    const Labels& labels);
  Result<std::vector<Record>> committed_chain(const std::string& parent) const;
  void make_spare_directories();
  Result<void> settle_spare_directories();
  bool use_spare(int64_t number);
  std::string spare_path_of(int64_t number) const;
  Result<std::set<int64_t>> numbers_in_directory(std::string_view prefix) const;
  Result<void> make_directory(const std::string& own);
  Result<void> give_owner(const std::string& content, const Record& parent,
                          const std::optional<IdMapping>& mapping);
  Result<std::vector<Mount>> mounts_of(const Record& record);
  Result<std::vector<std::string>> lower_directories(const Record& record);
  Result<void> map_lower(const Record& record, std::vector<std::string>& lower);
  Result<std::string> content_of(const Record& record);
  Result<void> tell_what_is_idle();
  void release_chain_below(const std::string& parent);
  std::string path_of(int64_t number) const;

  const std::string directory_;
  Store& store_;
  Streaming& streaming_;
  const std::unique_ptr<EarlySync> early_sync_;  // of what is written into active snapshots
  const Duration chain_patience_;

  std::mutex new_mutex_;
  std::set<int64_t> new_directories_;

  std::mutex chains_mutex_;
  std::condition_variable chains_changed_;
  std::set<std::string> busy_chains_;

  std::optional<SpareDirectories> spare_directories_;  // last: its thread uses the rest
};

}  // namespace runnel::snapshot
