// What each call of containerd's snapshotter interface does.
//
// An ordinary snapshot is a directory ROOT/s/NUMBER with fs (its content, or an upper directory)
// and work; a streamed one has no directory, its content is what Streaming mounts for its chain ID.
// A chain of parents is the ordinary directories down to the first streamed snapshot, whose mount
// shows everything below.
//
// A record comes before its directory and goes before it: a directory without a record is rubbish
// that cleanup() removes, a record whose directory is missing is an empty snapshot.
#pragma once

#include <condition_variable>
#include <mutex>
#include <set>
#include <string>
#include <vector>

#include "base/error.h"
#include "snapshot/snapshot.h"
#include "snapshot/store.h"
#include "snapshot/streaming.h"

namespace runnel::snapshot {

// Any thread may call any method.
class Snapshotter {
 public:
  // Creates ROOT/s and cleans up. The references must outlive it.
  static Result<std::unique_ptr<Snapshotter>> open(const std::string& root, Store& store,
                                                   Streaming& streaming);

  // kExists also when the chain that the target label names streams: the caller need not unpack it.
  Result<std::vector<Mount>> prepare(const std::string& key, const std::string& parent,
                                     const Labels& labels);
  Result<std::vector<Mount>> view(const std::string& key, const std::string& parent,
                                  const Labels& labels);
  Result<std::vector<Mount>> mounts(const std::string& key);
  Result<void> commit(const std::string& key, const std::string& name, const Labels& labels);
  Result<void> remove(const std::string& name);
  Result<Info> stat(const std::string& name) const;
  // Changes the labels that `fields` names ("labels", "labels.NAME"; empty: all of them).
  Result<Info> update(const Info& info, const std::vector<std::string>& fields);
  Result<std::vector<Info>> list(const std::vector<std::string>& filters) const;
  Result<Usage> usage(const std::string& name);
  Result<void> cleanup();

 private:
  // Keeps calls about one chain ID one after the other.
  class ChainLock;

  Snapshotter(std::string directory, Store& store, Streaming& streaming)
      : directory_(std::move(directory)), store_(store), streaming_(streaming) {}

  Result<bool> streams(const std::string& target, const std::string& parent, const Labels& labels);
  Result<std::vector<Mount>> create(Kind kind, const std::string& key, const std::string& parent,
                                    const Labels& labels);
  Result<std::vector<Mount>> mounts_of(const Record& record);
  Result<std::vector<std::string>> lower_directories(const std::string& parent);
  Result<void> ensure_directory(const Record& record);
  void release_chain_below(const std::string& parent);
  std::string path_of(const Record& record, const char* part) const;

  const std::string directory_;
  Store& store_;
  Streaming& streaming_;

  std::mutex chains_mutex_;
  std::condition_variable chains_changed_;
  std::set<std::string> busy_chains_;
};

}  // namespace runnel::snapshot
