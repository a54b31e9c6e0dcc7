#include "meta/sqlite_operations.h"

#include <algorithm>
#include <utility>

#include "meta/sqlite_schema.h"
#include "meta/stored_digest.h"
#include "meta/stored_time.h"

namespace runnel::meta {

// What follows SELECT in every statement that reads operations.
#define RUNNEL_OPERATION_COLUMNS                                                \
  "position, id, repository, digest, status, priority, principal, created_at, " \
  "started_at, ended_at, percent, attempts, code, message FROM operations "

namespace {

Result<Operation> operation_of(const Query& row) {
  RUNNEL_TRY(auto digest, stored_digest(row.text(3)));
  return Operation{.position = row.integer(0),
                   .id = std::string(row.text(1)),
                   .repository = std::string(row.text(2)),
                   .digest = std::move(digest),
                   .status = static_cast<OperationStatus>(row.integer(4)),
                   .priority = static_cast<OperationPriority>(row.integer(5)),
                   .principal = std::string(row.text(6)),
                   .created = from_milliseconds(row.integer(7)),
                   .started = from_milliseconds(row.integer(8)),
                   .ended = from_milliseconds(row.integer(9)),
                   .percent = static_cast<unsigned>(row.integer(10)),
                   .attempts = static_cast<unsigned>(row.integer(11)),
                   .code = std::string(row.text(12)),
                   .message = std::string(row.text(13))};
}

Result<std::optional<Operation>> first_of(Result<Query> rows) {
  if (!rows) return std::unexpected(rows.error());
  RUNNEL_TRY(const bool found, rows->next());
  if (!found) return std::nullopt;
  return operation_of(*rows);
}

int64_t to_milliseconds(Duration duration) {
  return std::chrono::duration_cast<std::chrono::milliseconds>(duration).count();
}

}  // namespace

Result<std::unique_ptr<SqliteOperations>> SqliteOperations::open(const std::string& path,
                                                                 const Clock& clock,
                                                                 MakeOperationId make_id) {
  RUNNEL_TRY(auto connection, Connection::open(path, Connection::Durability::kEveryCommit));
  RUNNEL_DO(prepare_schema(*connection));
  return std::unique_ptr<SqliteOperations>(
      new SqliteOperations(std::move(connection), clock, std::move(make_id)));
}

int64_t SqliteOperations::now() const {
  return meta::to_milliseconds(clock_.wall());
}

Result<std::optional<Operation>> SqliteOperations::find(std::string_view id) {
  return first_of(connection_->query("SELECT " RUNNEL_OPERATION_COLUMNS "WHERE id = ?", {id}));
}

Result<Enqueued> SqliteOperations::enqueue(const NewOperation& wanted) {
  const auto& digest = wanted.digest.to_string();
  const auto priority = static_cast<int64_t>(wanted.priority);
  const auto id = make_id_();
  const std::lock_guard lock(mutex_);
  RUNNEL_TRY(auto transaction, Transaction::write(*connection_));
  RUNNEL_TRY(const int64_t made,
             connection_->run("INSERT INTO operations (id, repository, digest, status, priority, "
                              "principal, created_at) VALUES (?, ?, ?, 0, ?, ?, ?) "
                              "ON CONFLICT (repository, digest) WHERE status < 2 DO NOTHING",
                              {id, wanted.repository, digest, priority, wanted.principal, now()}));
  if (made == 0) {
    RUNNEL_DO(
        connection_->run("UPDATE operations SET priority = max(priority, ?) "
                         "WHERE repository = ? AND digest = ? AND status < 2",
                         {priority, wanted.repository, digest}));
  }
  RUNNEL_TRY(auto found,
             first_of(connection_->query("SELECT " RUNNEL_OPERATION_COLUMNS
                                         "WHERE repository = ? AND digest = ? AND status < 2",
                                         {wanted.repository, digest})));
  if (!found)
    return fail(Code::kUnavailable, "metadata: damaged: an operation that was made is not there");
  RUNNEL_DO(transaction.commit());
  return Enqueued{.operation = *std::move(found), .joined = made == 0};
}

Result<std::optional<Operation>> SqliteOperations::operation(std::string_view id) {
  const std::lock_guard lock(mutex_);
  return find(id);
}

Result<std::optional<Operation>> SqliteOperations::last_operation(std::string_view repository,
                                                                  const oci::Digest& digest) {
  const auto& text = digest.to_string();
  const std::lock_guard lock(mutex_);
  return first_of(connection_->query("SELECT " RUNNEL_OPERATION_COLUMNS
                                     "WHERE repository = ? AND digest = ? "
                                     "ORDER BY position DESC LIMIT 1",
                                     {repository, text}));
}

Result<std::vector<Operation>> SqliteOperations::operations(const OperationFilter& filter,
                                                            int64_t before, size_t limit) {
  constexpr const char* kAll = "SELECT " RUNNEL_OPERATION_COLUMNS
                               "WHERE position < ?1 AND ?2 = '' AND ?3 < 0 "
                               "ORDER BY position DESC LIMIT ?4";
  constexpr const char* kOfRepository = "SELECT " RUNNEL_OPERATION_COLUMNS
                                        "WHERE position < ?1 AND repository = ?2 AND ?3 < 0 "
                                        "ORDER BY position DESC LIMIT ?4";
  constexpr const char* kOfStatus = "SELECT " RUNNEL_OPERATION_COLUMNS
                                    "WHERE position < ?1 AND ?2 = '' AND status = ?3 "
                                    "ORDER BY position DESC LIMIT ?4";
  constexpr const char* kOfBoth = "SELECT " RUNNEL_OPERATION_COLUMNS
                                  "WHERE position < ?1 AND repository = ?2 AND status = ?3 "
                                  "ORDER BY position DESC LIMIT ?4";
  const bool of_all = filter.repository.empty();
  const char* sql = nullptr;
  if (filter.status) {
    sql = of_all ? kOfStatus : kOfBoth;
  } else {
    sql = of_all ? kAll : kOfRepository;
  }
  const std::lock_guard lock(mutex_);
  RUNNEL_TRY(auto rows,
             connection_->query(sql, {before, filter.repository,
                                      filter.status ? static_cast<int64_t>(*filter.status) : -1,
                                      static_cast<int64_t>(limit)}));
  std::vector<Operation> found;
  while (true) {
    RUNNEL_TRY(const bool more, rows.next());
    if (!more) return found;
    RUNNEL_TRY(found.emplace_back(), operation_of(rows));
  }
}

Result<std::optional<Operation>> SqliteOperations::claim(std::string_view owner,
                                                         Duration lifetime) {
  const std::lock_guard lock(mutex_);
  RUNNEL_TRY(auto transaction, Transaction::write(*connection_));
  RUNNEL_TRY(auto next,
             first_of(connection_->query("SELECT " RUNNEL_OPERATION_COLUMNS "WHERE status < 2 "
                                         "AND (claimed_until <= ? OR claimed_until > ?) "
                                         "ORDER BY priority DESC, position LIMIT 1",
                                         {now(), now() + 2 * to_milliseconds(lifetime)})));
  if (!next) return std::nullopt;
  RUNNEL_DO(
      connection_->run("UPDATE operations SET status = 1, owner = ?, claimed_until = ?, "
                       "publishing = 0, attempts = attempts + 1, "
                       "started_at = CASE started_at WHEN 0 THEN ? ELSE started_at END "
                       "WHERE position = ?",
                       {owner, now() + to_milliseconds(lifetime), now(), next->position}));
  RUNNEL_TRY(auto claimed, find(next->id));
  RUNNEL_DO(transaction.commit());
  return claimed;
}

// Runs a change of one operation; false when it met none.
Result<bool> SqliteOperations::change_claimed(const char* sql,
                                              std::initializer_list<SqlValue> values) {
  const std::lock_guard lock(mutex_);
  RUNNEL_TRY(const int64_t changed, connection_->run(sql, values));
  return changed != 0;
}

// A claim that is over holds on as long as nobody else took the operation: a slow disk is no death.
Result<bool> SqliteOperations::report(const Claim& claim, unsigned percent, Duration lifetime) {
  return change_claimed(
      "UPDATE operations SET percent = max(percent, ?), claimed_until = ? "
      "WHERE id = ? AND owner = ? AND status = 1",
      {static_cast<int64_t>(std::min(percent, 100u)), now() + to_milliseconds(lifetime),
       claim.operation, claim.owner});
}

Result<bool> SqliteOperations::begin_publishing(const Claim& claim, Duration lifetime) {
  return change_claimed(
      "UPDATE operations SET publishing = 1, claimed_until = ? "
      "WHERE id = ? AND owner = ? AND status = 1",
      {now() + to_milliseconds(lifetime), claim.operation, claim.owner});
}

Result<bool> SqliteOperations::finish(const Claim& claim, const OperationEnd& end) {
  return change_claimed(
      "UPDATE operations SET status = ?1, ended_at = ?2, code = ?3, message = ?4, "
      "percent = CASE ?1 WHEN 2 THEN 100 ELSE percent END, owner = '', publishing = 0 "
      "WHERE id = ?5 AND owner = ?6 AND status = 1",
      {static_cast<int64_t>(end.status), now(), end.code, end.message, claim.operation,
       claim.owner});
}

Result<bool> SqliteOperations::release(const Claim& claim) {
  return change_claimed(
      "UPDATE operations SET status = 0, owner = '', claimed_until = 0, publishing = 0, "
      "attempts = attempts - 1 WHERE id = ? AND owner = ? AND status = 1",
      {claim.operation, claim.owner});
}

Result<CancelOutcome> SqliteOperations::cancel(std::string_view id) {
  const std::lock_guard lock(mutex_);
  RUNNEL_TRY(auto transaction, Transaction::write(*connection_));
  // A publisher that died does not stand in the way.
  RUNNEL_TRY(const int64_t canceled,
             connection_->run("UPDATE operations SET status = 4, ended_at = ?1, owner = '', "
                              "publishing = 0 WHERE id = ?2 AND status < 2 "
                              "AND (publishing = 0 OR claimed_until <= ?1)",
                              {now(), id}));
  RUNNEL_TRY(const auto found, find(id));
  RUNNEL_DO(transaction.commit());
  if (canceled != 0) return CancelOutcome::kCanceled;
  if (!found) return CancelOutcome::kAbsent;
  return is_ongoing(found->status) ? CancelOutcome::kPublishing : CancelOutcome::kEnded;
}

Result<size_t> SqliteOperations::forget_operations(WallTime before, size_t limit) {
  const std::lock_guard lock(mutex_);
  RUNNEL_TRY(const int64_t removed,
             connection_->run("DELETE FROM operations WHERE position IN (SELECT position "
                              "FROM operations WHERE status >= 2 AND ended_at < ? LIMIT ?)",
                              {meta::to_milliseconds(before), static_cast<int64_t>(limit)}));
  return static_cast<size_t>(removed);
}

}  // namespace runnel::meta
