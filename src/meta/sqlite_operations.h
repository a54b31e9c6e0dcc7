// The queue of conversions in the SQLite file of the metadata.
#pragma once

#include <memory>
#include <mutex>
#include <string>

#include "meta/operation_queue.h"
#include "meta/sqlite.h"

namespace runnel::meta {

// One connection, whose users queue up at a mutex: operations are few. Conversions of several
// processes meet at SQLite's lock.
class SqliteOperations final : public OperationQueue {
 public:
  // Opens or makes the file at `path`. The clock must outlive the queue.
  static Result<std::unique_ptr<SqliteOperations>> open(
      const std::string& path, const Clock& clock, MakeOperationId make_id = random_operation_id);

  Result<Enqueued> enqueue(const NewOperation& wanted) override;
  Result<std::optional<Operation>> operation(std::string_view id) override;
  Result<std::optional<Operation>> last_operation(std::string_view repository,
                                                  const oci::Digest& digest) override;
  Result<std::vector<Operation>> operations(const OperationFilter& filter, int64_t before,
                                            size_t limit) override;
  Result<std::optional<Operation>> claim(std::string_view owner, Duration lifetime) override;
  Result<bool> report(const Claim& claim, unsigned percent, Duration lifetime) override;
  Result<bool> begin_publishing(const Claim& claim, Duration lifetime) override;
  Result<bool> finish(const Claim& claim, const OperationEnd& end) override;
  Result<bool> release(const Claim& claim) override;
  Result<CancelOutcome> cancel(std::string_view id) override;
  Result<size_t> forget_operations(WallTime before, size_t limit) override;

 private:
  SqliteOperations(std::unique_ptr<Connection> connection, const Clock& clock,
                   MakeOperationId make_id)
      : connection_(std::move(connection)), clock_(clock), make_id_(std::move(make_id)) {}

  int64_t now() const;
  // With the mutex held.
  Result<std::optional<Operation>> find(std::string_view id);
  Result<bool> change_claimed(const char* sql, std::initializer_list<SqlValue> values);

  std::mutex mutex_;
  const std::unique_ptr<Connection> connection_;
  const Clock& clock_;
  const MakeOperationId make_id_;
};

}  // namespace runnel::meta
