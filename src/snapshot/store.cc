#include "snapshot/store.h"

#include <fcntl.h>
#include <sqlite3.h>
#include <sys/stat.h>

#include <algorithm>
#include <cerrno>
#include <string_view>

#include "base/fd.h"
#include "base/quote.h"
#include "base/utf8.h"

namespace runnel::snapshot {

namespace {

constexpr int kSchemaVersion = 1;
constexpr size_t kMaxNameSize = 4096;
constexpr size_t kListedAtOnce = 128;   // some milliseconds
constexpr size_t kMaxLabelSize = 4096;  // as containerd's API says
constexpr const char* kSchema = R"(
  CREATE TABLE snapshots (
    number   INTEGER PRIMARY KEY AUTOINCREMENT,
    name     TEXT NOT NULL UNIQUE,
    parent   TEXT NOT NULL,
    kind     INTEGER NOT NULL,
    created  INTEGER NOT NULL,
    updated  INTEGER NOT NULL,
    labels   TEXT NOT NULL,
    chain_id TEXT NOT NULL,
    bytes    INTEGER NOT NULL,
    inodes   INTEGER NOT NULL);
  CREATE INDEX snapshots_by_parent ON snapshots (parent);
  CREATE INDEX snapshots_by_chain ON snapshots (chain_id);
  PRAGMA user_version = 1;
)";
constexpr const char* kColumns =
    "number, name, parent, kind, created, updated, labels, chain_id, bytes, inodes";

Result<void> check_name(const std::string& name) {
  if (name.empty()) return fail(Code::kInvalid, "a snapshot needs a name");
  if (name.size() > kMaxNameSize) {
    return fail(Code::kInvalid, "a snapshot's name has {} bytes; at most {} are allowed",
                name.size(), kMaxNameSize);
  }
  return {};
}

Result<void> check_labels(const Labels& labels) {
  for (const auto& [key, value] : labels) {
    if (!is_utf8(key) || !is_utf8(value))
      return fail(Code::kInvalid, "label {} or its value is not UTF-8", quote(key));
    if (key.size() + value.size() <= kMaxLabelSize) continue;
    return fail(Code::kInvalid, "label {} and its value have {} bytes; at most {} are allowed",
                quote(key), key.size() + value.size(), kMaxLabelSize);
  }
  return {};
}

}  // namespace

// One run of a statement that the store keeps prepared. Of one text there is one at a time, under
// the store's lock.
class Store::Statement {
 public:
  Statement(const Store& store, std::string_view sql) : database_(store.database_) {
    auto kept = store.prepared_.find(sql);
    if (kept == store.prepared_.end()) {
      sqlite3_stmt* made = nullptr;
      sqlite3_prepare_v3(database_, sql.data(), static_cast<int>(sql.size()),
                         SQLITE_PREPARE_PERSISTENT, &made, nullptr);
      if (made == nullptr) return;
      kept = store.prepared_.emplace(sql, made).first;
    }
    statement_ = kept->second;
  }
  ~Statement() {
    if (statement_ == nullptr) return;
    sqlite3_reset(statement_);
    sqlite3_clear_bindings(statement_);
  }
  Statement(const Statement&) = delete;
  Statement& operator=(const Statement&) = delete;

  Statement& bind(const std::string& value) {
    sqlite3_bind_text(statement_, ++bound_, value.data(), static_cast<int>(value.size()),
                      SQLITE_TRANSIENT);
    return *this;
  }
  Statement& bind(int64_t value) {
    sqlite3_bind_int64(statement_, ++bound_, value);
    return *this;
  }

  // True when there is a row.
  Result<bool> step() {
    const int code = statement_ == nullptr ? SQLITE_ERROR : sqlite3_step(statement_);
    if (code == SQLITE_ROW) return true;
    if (code == SQLITE_DONE) return false;
    return fail(code == SQLITE_FULL ? Code::kExhausted : Code::kUnavailable,
                "snapshot database: {}", sqlite3_errmsg(database_));
  }

  std::string text(int column) const {
    const auto* bytes = sqlite3_column_text(statement_, column);
    return {reinterpret_cast<const char*>(bytes),
            static_cast<size_t>(sqlite3_column_bytes(statement_, column))};
  }
  int64_t number(int column) const { return sqlite3_column_int64(statement_, column); }

  Result<Record> record() const {
    return to_record({.number = number(0),
                      .name = text(1),
                      .parent = text(2),
                      .kind = number(3),
                      .created = number(4),
                      .updated = number(5),
                      .labels = text(6),
                      .chain_id = text(7),
                      .bytes = number(8),
                      .inodes = number(9)});
  }

 private:
  sqlite3* const database_;
  sqlite3_stmt* statement_ = nullptr;
  int bound_ = 0;
};

// Rolls back unless it was committed.
class Store::Transaction {
 public:
  explicit Transaction(const Store& store) : store_(store), lock_(store.mutex_) {}
  ~Transaction() {
    if (open_) (void)run("ROLLBACK");
  }
  Result<void> begin() {
    RUNNEL_DO(run("BEGIN IMMEDIATE"));
    open_ = true;
    return {};
  }
  Result<void> commit() {
    RUNNEL_DO(run("COMMIT"));
    open_ = false;
    return {};
  }

 private:
  Result<void> run(const char* sql) {
    RUNNEL_DO(Statement(store_, sql).step());
    return {};
  }

  const Store& store_;
  std::lock_guard<std::recursive_mutex> lock_;
  bool open_ = false;
};

namespace {

// The database for its owner alone: labels are the users' words. SQLite makes the files beside it
// with the mode of the database, and says why when it cannot be made. None is opened that is there:
// closing it would take SQLite's locks away from this process.
Result<void> make_private(const std::string& path) {
  constexpr mode_t kOwnerOnly = 0600;
  (void)open_file(path, O_WRONLY | O_CREAT | O_EXCL, kOwnerOnly);
  for (const char* suffix : {"", "-wal", "-shm", "-journal"}) {
    const auto file = path + suffix;
    if (::chmod(file.c_str(), kOwnerOnly) != 0 && errno != ENOENT)
      return fail_errno("chmod {}", file);
  }
  return {};
}

}  // namespace

Result<std::unique_ptr<Store>> Store::open(const std::string& path, const Clock& clock) {
  RUNNEL_DO(make_private(path));
  sqlite3* database = nullptr;
  const int code =
      sqlite3_open_v2(path.c_str(), &database, SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE, nullptr);
  std::unique_ptr<Store> store(new Store(database, clock));
  if (code != SQLITE_OK) {
    return fail(Code::kUnavailable, "open {}: {}", path, sqlite3_errmsg(database));
  }
  sqlite3_busy_timeout(database, 10'000);
  // One process uses it at a time. Said before WAL, that needs no shared index: a file whose blocks
  // a full disk could not give, and a worker that cannot start serves nobody.
  RUNNEL_DO(store->execute("PRAGMA locking_mode = EXCLUSIVE"));
  RUNNEL_DO(store->execute("PRAGMA journal_mode = WAL"));
  RUNNEL_DO(store->execute("PRAGMA synchronous = FULL"));
  int64_t version = 0;
  {
    Statement statement(*store, "PRAGMA user_version");
    RUNNEL_TRY(const bool row, statement.step());
    if (row) version = statement.number(0);
  }
  if (version > kSchemaVersion) {
    return fail(Code::kUnsupported, "{}: schema {}, this program knows {}; use the newer program",
                path, version, kSchemaVersion);
  }
  if (version == 0) {
    Transaction transaction(*store);
    RUNNEL_DO(transaction.begin());
    RUNNEL_DO(store->execute(kSchema));
    RUNNEL_DO(transaction.commit());
  }
  Statement statement(*store, "SELECT seq FROM sqlite_sequence WHERE name = 'snapshots'");
  RUNNEL_TRY(const bool row, statement.step());
  if (row) store->last_number_ = statement.number(0);
  return store;
}

Store::~Store() {
  for (const auto& [sql, statement] : prepared_) sqlite3_finalize(statement);
  sqlite3_close(database_);
}

Result<void> Store::execute(const char* sql) const {
  char* message = nullptr;
  const int code = sqlite3_exec(database_, sql, nullptr, nullptr, &message);
  const std::string text = message == nullptr ? "" : message;
  sqlite3_free(message);
  if (code == SQLITE_OK) return {};
  return fail(code == SQLITE_FULL ? Code::kExhausted : Code::kUnavailable, "snapshot database: {}",
              text);
}

Result<std::vector<Record>> Store::select(const char* where,
                                          const std::vector<std::string>& values) const {
  const std::lock_guard lock(mutex_);
  Statement statement(
      *this, fmt::format("SELECT {} FROM snapshots WHERE {} ORDER BY number", kColumns, where));
  for (const auto& value : values) statement.bind(value);
  std::vector<Record> records;
  for (;;) {
    RUNNEL_TRY(const bool row, statement.step());
    if (!row) return records;
    RUNNEL_TRY(auto record, statement.record());
    records.push_back(std::move(record));
  }
}

Result<std::optional<Record>> Store::find(const std::string& name) const {
  RUNNEL_TRY(auto records, select("name = ?", {name}));
  if (records.empty()) return std::nullopt;
  return std::move(records.front());
}

Result<Record> Store::get(const std::string& name) const {
  RUNNEL_TRY(auto record, find(name));
  if (!record) return fail(Code::kNotFound, "snapshot {} does not exist", quote(name));
  return *std::move(record);
}

// Inside a transaction.
Result<Record> Store::insert(const Record& record) {
  RUNNEL_DO(check_name(record.info.name));
  RUNNEL_DO(check_labels(record.info.labels));
  RUNNEL_TRY(const auto taken, find(record.info.name));
  if (taken) return fail(Code::kExists, "snapshot {} exists", quote(record.info.name));
  if (!record.info.parent.empty()) {
    RUNNEL_TRY(const auto parent, get(record.info.parent));
    if (parent.info.kind != Kind::kCommitted) {
      return fail(Code::kInvalid, "parent {} is not committed", quote(record.info.parent));
    }
  }
  Record made = record;
  made.info.created = made.info.updated = clock_.wall();
  std::erase_if(made.info.labels, [](const auto& label) { return label.second.empty(); });
  const auto row = to_row(made);
  Statement statement(*this,
                      "INSERT INTO snapshots (number, name, parent, kind, created, updated, "
                      "labels, chain_id, bytes, inodes) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)");
  statement.bind(row.number)
      .bind(row.name)
      .bind(row.parent)
      .bind(row.kind)
      .bind(row.created)
      .bind(row.updated)
      .bind(row.labels)
      .bind(row.chain_id)
      .bind(row.bytes)
      .bind(row.inodes);
  RUNNEL_DO(statement.step());
  return made;
}

Result<Record> Store::create(int64_t number, Kind kind, const std::string& key,
                             const std::string& parent, const Labels& labels) {
  Transaction transaction(*this);
  RUNNEL_DO(transaction.begin());
  Record record;
  record.number = number;
  record.info = {.name = key, .parent = parent, .kind = kind, .labels = labels};
  RUNNEL_TRY(auto made, insert(record));
  RUNNEL_DO(transaction.commit());
  return made;
}

Result<Record> Store::create_streamed(const std::string& name, const std::string& parent,
                                      const std::string& chain_id, const Labels& labels) {
  Transaction transaction(*this);
  RUNNEL_DO(transaction.begin());
  Record record;
  record.info = {.name = name, .parent = parent, .kind = Kind::kCommitted, .labels = labels};
  record.number = next_number();
  record.chain_id = chain_id;
  RUNNEL_TRY(auto made, insert(record));
  RUNNEL_DO(transaction.commit());
  return made;
}

Result<void> Store::commit(const std::string& key, const std::string& name, const Labels& labels,
                           const Usage& usage) {
  Transaction transaction(*this);
  RUNNEL_DO(transaction.begin());
  RUNNEL_DO(check_name(name));
  RUNNEL_DO(check_labels(labels));
  RUNNEL_TRY(const auto active, get(key));
  if (active.info.kind != Kind::kActive) {
    return fail(Code::kConflict, "snapshot {} is not active", quote(key));
  }
  RUNNEL_TRY(const auto taken, find(name));
  if (taken) return fail(Code::kExists, "snapshot {} exists", quote(name));
  Statement statement(*this,
                      "UPDATE snapshots SET name = ?, kind = ?, created = ?, updated = ?, labels "
                      "= ?, bytes = ?, inodes = ? WHERE number = ?");
  const int64_t now = to_nanoseconds(clock_.wall());
  statement.bind(name)
      .bind(static_cast<int64_t>(Kind::kCommitted))
      .bind(now)
      .bind(now)
      .bind(to_text(labels))
      .bind(static_cast<int64_t>(usage.bytes))
      .bind(static_cast<int64_t>(usage.inodes))
      .bind(active.number);
  RUNNEL_DO(statement.step());
  return transaction.commit();
}

Result<Record> Store::remove(const std::string& name) {
  Transaction transaction(*this);
  RUNNEL_DO(transaction.begin());
  RUNNEL_TRY(auto record, get(name));
  RUNNEL_TRY(const auto standing, children(name));
  if (!standing.empty()) {
    return fail(Code::kConflict, "cannot remove snapshot {}: it has {} children, {} is one",
                quote(name), standing.size(), quote(standing[0].info.name));
  }
  Statement statement(*this, "DELETE FROM snapshots WHERE number = ?");
  statement.bind(record.number);
  RUNNEL_DO(statement.step());
  RUNNEL_DO(transaction.commit());
  return record;
}

Result<Record> Store::change_labels(const std::string& name,
                                    const std::function<Result<void>(Labels&)>& change) {
  Transaction transaction(*this);
  RUNNEL_DO(transaction.begin());
  RUNNEL_TRY(auto record, get(name));
  RUNNEL_DO(change(record.info.labels));
  RUNNEL_DO(check_labels(record.info.labels));
  Statement statement(*this, "UPDATE snapshots SET labels = ?, updated = ? WHERE number = ?");
  statement.bind(to_text(record.info.labels))
      .bind(to_nanoseconds(clock_.wall()))
      .bind(record.number);
  RUNNEL_DO(statement.step());
  RUNNEL_TRY(auto changed, get(name));
  RUNNEL_DO(transaction.commit());
  return changed;
}

Result<std::vector<Record>> Store::chain(const std::string& name) const {
  const std::lock_guard lock(mutex_);
  std::vector<Record> records;
  for (std::string next = name; !next.empty();) {
    RUNNEL_TRY(auto record, get(next));
    next = record.streamed() ? std::string() : record.info.parent;
    records.push_back(std::move(record));
  }
  return records;
}

Result<std::vector<Record>> Store::list() const {
  std::vector<Record> all;
  for (int64_t last = 0;;) {
    const size_t before = all.size();
    RUNNEL_DO(list_page(last, all));
    if (all.size() == before) return all;
    last = all.back().number;
  }
}

Result<std::vector<Record>> Store::children(const std::string& parent) const {
  return select("parent = ?", {parent});
}

Result<void> Store::list_page(int64_t after, std::vector<Record>& into) const {
  const std::lock_guard lock(mutex_);
  Statement statement(
      *this, fmt::format("SELECT {} FROM snapshots WHERE number > ? ORDER BY number LIMIT {}",
                         kColumns, kListedAtOnce));
  statement.bind(after);
  for (;;) {
    RUNNEL_TRY(const bool row, statement.step());
    if (!row) return {};
    RUNNEL_TRY(auto record, statement.record());
    into.push_back(std::move(record));
  }
}

Result<std::optional<Record>> Store::find_streamed(const std::string& chain_id,
                                                   const std::string& parent) const {
  RUNNEL_TRY(auto records, select("chain_id = ? AND parent = ?", {chain_id, parent}));
  if (records.empty()) return std::nullopt;
  return std::move(records.front());
}

Result<bool> Store::chain_is_held(const std::string& chain_id) const {
  RUNNEL_TRY(const auto records, select("chain_id = ?", {chain_id}));
  return !records.empty();
}

// What it shows includes everything below, so the way down from a user ends at the first streamed
// snapshot; seen from here, the way up ends before the next one.
// containerd names a committed snapshot NAMESPACE/NUMBER/CHAIN; a bare one is an own client's.
Result<bool> Store::chain_is_unpacked(const std::string& chain_id) const {
  const auto end = "/" + chain_id;
  RUNNEL_TRY(const auto records,
             select("chain_id = '' AND substr('/' || name, -length(?)) = ?", {end, end}));
  return std::ranges::any_of(
      records, [](const Record& record) { return record.info.kind == Kind::kCommitted; });
}

Result<bool> Store::chain_is_used(const std::string& chain_id) const {
  const std::lock_guard lock(mutex_);
  Statement statement(*this, R"(
    WITH RECURSIVE above(name, kind) AS (
      SELECT name, kind FROM snapshots WHERE chain_id = ?
      UNION
      SELECT child.name, child.kind FROM snapshots AS child JOIN above ON child.parent = above.name
      WHERE child.chain_id = '')
    SELECT 1 FROM above WHERE kind != ? LIMIT 1)");
  statement.bind(chain_id).bind(static_cast<int64_t>(Kind::kCommitted));
  return statement.step();
}

}  // namespace runnel::snapshot
