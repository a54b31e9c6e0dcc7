#include "meta/sqlite.h"

#include <sqlite3.h>

#include "base/log.h"

namespace runnel::meta {

namespace {

constexpr int kBusyTimeoutMs = 10'000;

Code code_of(int sqlite_code) {
  switch (sqlite_code & 0xff) {
    case SQLITE_FULL:
    case SQLITE_NOMEM: return Code::kExhausted;
    case SQLITE_CONSTRAINT: return Code::kConflict;
    case SQLITE_TOOBIG: return Code::kInvalid;
    default: return Code::kUnavailable;  // busy, I/O, corrupt, read-only: trouble with the file
  }
}

std::unexpected<Error> failure(sqlite3* database, std::string_view what) {
  const int code = sqlite3_extended_errcode(database);
  return fail(code_of(code), "metadata: {}: {} (sqlite {})", what, sqlite3_errmsg(database), code);
}

struct Bind {
  sqlite3_stmt* statement;
  int index;
  sqlite3_destructor_type keeping;  // SQLITE_STATIC: the value lives longer; SQLITE_TRANSIENT: copy

  int operator()(std::nullptr_t) const { return sqlite3_bind_null(statement, index); }
  int operator()(int64_t value) const { return sqlite3_bind_int64(statement, index, value); }
  int operator()(std::string_view text) const {
    return sqlite3_bind_text64(statement, index, text.data() == nullptr ? "" : text.data(),
                               text.size(), keeping, SQLITE_UTF8);
  }
  int operator()(Bytes bytes) const {
    return sqlite3_bind_blob64(statement, index,
                               bytes.empty() ? "" : static_cast<const void*>(bytes.data()),
                               bytes.size(), keeping);
  }
};

}  // namespace

Query::~Query() {
  if (statement_ == nullptr) return;
  sqlite3_reset(statement_);
  sqlite3_clear_bindings(statement_);
}

Result<bool> Query::next() {
  const int code = sqlite3_step(statement_);
  if (code == SQLITE_ROW) return true;
  if (code == SQLITE_DONE) return false;
  return failure(database_, sqlite3_sql(statement_));
}

int64_t Query::integer(int column) const {
  return sqlite3_column_int64(statement_, column);
}

std::string_view Query::text(int column) const {
  // As bytes: a text that is not UTF-8 must come back as it went in.
  const auto* data = static_cast<const char*>(sqlite3_column_blob(statement_, column));
  const auto size = static_cast<size_t>(sqlite3_column_bytes(statement_, column));
  return data == nullptr ? std::string_view() : std::string_view(data, size);
}

Result<std::unique_ptr<Connection>> Connection::open(const std::string& path,
                                                     Durability durability) {
  sqlite3* database = nullptr;
  const int code =
      sqlite3_open_v2(path.c_str(), &database,
                      SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE | SQLITE_OPEN_NOMUTEX, nullptr);
  RUNNEL_CHECK(database != nullptr);
  std::unique_ptr<Connection> connection(new Connection(database));
  if (code != SQLITE_OK) return failure(database, "open " + path);
  sqlite3_extended_result_codes(database, 1);
  sqlite3_busy_timeout(database, kBusyTimeoutMs);
  sqlite3_db_config(database, SQLITE_DBCONFIG_DEFENSIVE, 1, nullptr);
  RUNNEL_DO(
      connection->script("PRAGMA journal_mode = WAL; PRAGMA foreign_keys = ON;"
                         "PRAGMA trusted_schema = OFF; PRAGMA temp_store = MEMORY"));
  RUNNEL_DO(connection->script(durability == Durability::kEveryCommit
                                   ? "PRAGMA synchronous = FULL"
                                   : "PRAGMA synchronous = NORMAL"));
  RUNNEL_TRY(auto mode, connection->query("PRAGMA journal_mode"));
  RUNNEL_TRY(const bool has_mode, mode.next());
  if (!has_mode || mode.text(0) != "wal")
    return fail(Code::kUnsupported,
                "metadata: {} is on a file system without shared memory maps (a network file "
                "system?): choose a local directory",
                path);
  return connection;
}

Connection::~Connection() {
  for (const auto& [sql, statement] : statements_) sqlite3_finalize(statement);
  sqlite3_close(database_);
}

Result<Query> Connection::query(const char* sql, std::initializer_list<SqlValue> values) {
  return prepare(sql, values, true);
}

Result<Query> Connection::prepare(const char* sql, std::initializer_list<SqlValue> values,
                                  bool copies) {
  auto& statement = statements_[sql];
  if (statement == nullptr && sqlite3_prepare_v3(database_, sql, -1, SQLITE_PREPARE_PERSISTENT,
                                                 &statement, nullptr) != SQLITE_OK)
    return failure(database_, sql);
  RUNNEL_CHECK(sqlite3_bind_parameter_count(statement) == static_cast<int>(values.size()));
  Query query(database_, statement);
  int index = 0;
  const auto keeping = copies ? SQLITE_TRANSIENT : SQLITE_STATIC;
  for (const auto& value : values)
    if (std::visit(Bind{statement, ++index, keeping}, value) != SQLITE_OK)
      return failure(database_, sql);
  return query;
}

Result<int64_t> Connection::run(const char* sql, std::initializer_list<SqlValue> values) {
  // What is inserted may be large, and is not needed any longer than this.
  RUNNEL_TRY(auto running, prepare(sql, values, false));
  while (true) {
    RUNNEL_TRY(const bool more, running.next());
    if (!more) return sqlite3_changes64(database_);
  }
}

Result<void> Connection::script(const char* sql) {
  if (sqlite3_exec(database_, sql, nullptr, nullptr, nullptr) == SQLITE_OK) return {};
  return failure(database_, sql);
}

int64_t Connection::last_id() const {
  return sqlite3_last_insert_rowid(database_);
}

Result<Transaction> Transaction::write(Connection& connection) {
  RUNNEL_TRY([[maybe_unused]] auto changed, connection.run("BEGIN IMMEDIATE"));
  return Transaction(connection);
}

Result<Transaction> Transaction::read(Connection& connection) {
  RUNNEL_TRY([[maybe_unused]] auto changed, connection.run("BEGIN DEFERRED"));
  return Transaction(connection);
}

Transaction::~Transaction() {
  if (connection_ == nullptr) return;
  if (auto outcome = connection_->run("ROLLBACK"); !outcome)
    log::debug("{}", outcome.error().message);  // SQLite itself has rolled back already
}

Result<void> Transaction::commit() {
  RUNNEL_TRY([[maybe_unused]] auto changed, connection_->run("COMMIT"));
  connection_ = nullptr;
  return {};
}

}  // namespace runnel::meta
