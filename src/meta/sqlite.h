// SQLite's C API as values that clean up after themselves.
//
//   RUNNEL_TRY(auto rows, connection.query("SELECT name FROM tags WHERE id = ?", {id}));
//   while (true) {
//     RUNNEL_TRY(const bool more, rows.next());
//     if (!more) break;
//     use(rows.text(0));
//   }
//
// A Connection, and what came from it, is used by one thread at a time.
#pragma once

#include <cstdint>
#include <initializer_list>
#include <memory>
#include <string>
#include <string_view>
#include <unordered_map>
#include <variant>

#include "base/bytes.h"
#include "base/error.h"

struct sqlite3;
struct sqlite3_stmt;

namespace runnel::meta {

// What can be bound to a '?'. A Query has its own copies.
using SqlValue = std::variant<std::nullptr_t, int64_t, std::string_view, Bytes>;

// A statement that runs. Views into a row hold until the next next().
class Query {
 public:
  Query(sqlite3* database, sqlite3_stmt* statement) : database_(database), statement_(statement) {}
  Query(Query&& other) noexcept
      : database_(other.database_), statement_(std::exchange(other.statement_, nullptr)) {}
  Query& operator=(Query&&) = delete;
  ~Query();

  // False at the end.
  Result<bool> next();

  int64_t integer(int column) const;
  std::string_view text(int column) const;

 private:
  sqlite3* database_;
  sqlite3_stmt* statement_;
};

class Connection {
 public:
  enum class Durability { kEveryCommit, kConsistentOnly };

  // Opens or makes the database, in WAL mode. With kConsistentOnly, a power loss may undo the last
  // commits, but never part of one.
  static Result<std::unique_ptr<Connection>> open(const std::string& path, Durability durability);
  ~Connection();

  // `sql` must be a literal: its statement is prepared once and kept.
  Result<Query> query(const char* sql, std::initializer_list<SqlValue> values = {});
  // Runs it to its end; the number of rows that it changed.
  Result<int64_t> run(const char* sql, std::initializer_list<SqlValue> values = {});
  // Several statements at once, without values.
  Result<void> script(const char* sql);

  int64_t last_id() const;

 private:
  explicit Connection(sqlite3* database) : database_(database) {}

  // `copies`: of the values, which else must outlive the Query.
  Result<Query> prepare(const char* sql, std::initializer_list<SqlValue> values, bool copies);

  sqlite3* const database_;
  std::unordered_map<const char*, sqlite3_stmt*> statements_;
};

// Undone when it goes without commit().
class Transaction {
 public:
  // Waits for other writers, of this process or another one, for ten seconds at most.
  static Result<Transaction> write(Connection& connection);
  // Sees one state of the database, whatever others write meanwhile.
  static Result<Transaction> read(Connection& connection);
  Transaction(Transaction&& other) noexcept
      : connection_(std::exchange(other.connection_, nullptr)) {}
  Transaction& operator=(Transaction&&) = delete;
  ~Transaction();

  Result<void> commit();

 private:
  explicit Transaction(Connection& connection) : connection_(&connection) {}

  Connection* connection_;
};

}  // namespace runnel::meta
