// The records of all snapshots, in one SQLite database; each change is durable when it returns.
//
// The rules are those of containerd's own snapshotters: names are unique, committed ones and keys
// alike; a parent is committed; what has children is not removed. A snapshot is either ordinary
// (its content is the directory of its number) or streamed (its content is a chain ID's).
#pragma once

#include <atomic>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <vector>

#include "base/error.h"
#include "snapshot/record.h"

struct sqlite3;
struct sqlite3_stmt;

namespace runnel::snapshot {

// Any thread may call any method.
class Store {
 public:
  // kUnsupported when a newer program wrote the file.
  static Result<std::unique_ptr<Store>> open(const std::string& path, const Clock& clock);
  ~Store();

  // A number that no snapshot had and none will have, so that a directory of that name can be made
  // before its record.
  int64_t next_number() { return ++last_number_; }

  // An active snapshot or a view, under a number from next_number(). kNotFound without its parent,
  // kInvalid when that is not committed, kExists when the key is taken. Here and below: kInvalid
  // for names and labels of more than 4096 bytes (a label's key and value together), and labels
  // that are not UTF-8. A label with an empty value is no label.
  Result<Record> create(int64_t number, Kind kind, const std::string& key,
                        const std::string& parent, const Labels& labels);
  // A committed, streamed snapshot that shows `chain_id`.
  Result<Record> create_streamed(const std::string& name, const std::string& parent,
                                 const std::string& chain_id, const Labels& labels);
  // The active snapshot `key` becomes the committed one `name`.
  Result<void> commit(const std::string& key, const std::string& name, const Labels& labels,
                      const Usage& usage);
  // Returns what was removed. kConflict while it has children.
  Result<Record> remove(const std::string& name);
  // Replaces the labels by what `change` makes of them, and returns the record. `change` runs under
  // the store's lock.
  Result<Record> change_labels(const std::string& name,
                               const std::function<Result<void>(Labels&)>& change);

  Result<Record> get(const std::string& name) const;
  // `name`, its parent, and so on to the first that streams, which shows all that is below it, or
  // to the lowest.
  Result<std::vector<Record>> chain(const std::string& name) const;
  // By number. Other calls get their turn in between: of what changes meanwhile some may be seen.
  Result<std::vector<Record>> list() const;
  // What stands directly on that snapshot; on none when it is empty.
  Result<std::vector<Record>> children(const std::string& parent) const;
  // The streamed snapshot of that chain ID on that parent, if there is one.
  Result<std::optional<Record>> find_streamed(const std::string& chain_id,
                                              const std::string& parent) const;
  // Whether a streamed snapshot of that chain ID is left, or one that is not committed stands
  // directly or through ordinary snapshots on it.
  Result<bool> chain_is_held(const std::string& chain_id) const;
  Result<bool> chain_is_used(const std::string& chain_id) const;
  // Whether an ordinary snapshot of that chain ID is committed, in any of containerd's namespaces.
  Result<bool> chain_is_unpacked(const std::string& chain_id) const;

 private:
  class Statement;
  class Transaction;

  Store(sqlite3* database, const Clock& clock) : database_(database), clock_(clock) {}

  Result<void> execute(const char* sql) const;
  Result<Record> insert(const Record& record);
  Result<std::optional<Record>> find(const std::string& name) const;
  Result<void> list_page(int64_t after, std::vector<Record>& into) const;
  Result<std::vector<Record>> select(const char* where,
                                     const std::vector<std::string>& values) const;

  sqlite3* const database_;
  const Clock& clock_;
  std::atomic<int64_t> last_number_{0};
  mutable std::recursive_mutex mutex_;
  // By their text, of which there are a few. A start makes dozens of queries, and preparing one
  // takes longer than running it.
  mutable std::map<std::string, sqlite3_stmt*, std::less<>> prepared_;
};

}  // namespace runnel::snapshot
