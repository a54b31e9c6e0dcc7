// Opening, repositories, blobs and uploads; manifests, tags and referrers are in
// sqlite_manifests.cc.
#include "meta/sqlite_store.h"

#include <filesystem>

#include "base/durable.h"
#include "meta/sqlite_reader.h"
#include "meta/sqlite_schema.h"
#include "meta/stored_time.h"

namespace runnel::meta {

namespace {

// The first column of every row.
Result<std::vector<std::string>> texts(Query query) {
  std::vector<std::string> found;
  while (true) {
    RUNNEL_TRY(const bool more, query.next());
    if (!more) return found;
    found.emplace_back(query.text(0));
  }
}

Upload upload_of(const Query& row) {
  return {.id = std::string(row.text(0)),
          .repository = std::string(row.text(1)),
          .owner = std::string(row.text(4)),
          .received = static_cast<uint64_t>(row.integer(2)),
          .expires = from_milliseconds(row.integer(3))};
}

// SQLite's own number, which says of a connection that another one has committed; this one never
// does.
class SqliteWatch final : public ChangeWatch {
 public:
  explicit SqliteWatch(std::unique_ptr<Connection> connection)
      : connection_(std::move(connection)) {}

  Result<uint64_t> version() override {
    RUNNEL_TRY(auto rows, connection_->query("PRAGMA data_version"));
    RUNNEL_TRY(const bool found, rows.next());
    RUNNEL_CHECK(found);
    return static_cast<uint64_t>(rows.integer(0));
  }

 private:
  const std::unique_ptr<Connection> connection_;
};

constexpr const char* kInsertUpload =
    "INSERT INTO uploads (id, repository, received, expires_at, owner) VALUES (?, ?, ?, ?, ?)";
constexpr const char* kLinkOf =
    "SELECT size, linked_at FROM blob_links WHERE digest = ? AND hidden = 0 "
    "AND repository = (SELECT id FROM repositories WHERE name = ?)";
constexpr const char* kDeleteUpload = "DELETE FROM uploads WHERE id = ? AND repository = ?";

}  // namespace

Result<std::unique_ptr<SqliteStore>> SqliteStore::open(const std::string& path,
                                                       const Clock& clock) {
  std::unique_ptr<SqliteStore> store(new SqliteStore(path, clock));
  RUNNEL_TRY(store->writer_, Connection::open(path, Connection::Durability::kEveryCommit));
  RUNNEL_DO(prepare_schema(*store->writer_));
  RUNNEL_DO(sync_directory(std::filesystem::absolute(path).parent_path().string()));
  RUNNEL_TRY(store->relaxed_writer_,
             Connection::open(path, Connection::Durability::kConsistentOnly));
  return store;
}

Result<SqliteStore::Reader> SqliteStore::reader() {
  {
    const std::lock_guard lock(readers_mutex_);
    if (!idle_readers_.empty()) {
      Reader taken(*this, std::move(idle_readers_.back()));
      idle_readers_.pop_back();
      return taken;
    }
  }
  // As many as calls were ever made at once, which the caller's pool bounds.
  RUNNEL_TRY(auto connection, Connection::open(path_, Connection::Durability::kEveryCommit));
  return Reader(*this, std::move(connection));
}

Result<std::unique_ptr<ChangeWatch>> SqliteStore::watch_changes() {
  RUNNEL_TRY(auto connection, Connection::open(path_, Connection::Durability::kEveryCommit));
  return std::make_unique<SqliteWatch>(std::move(connection));
}

int64_t SqliteStore::now() const {
  return to_milliseconds(clock_.wall());
}

Result<bool> SqliteStore::repository_exists(std::string_view name) {
  RUNNEL_TRY(const auto connection, reader());
  RUNNEL_TRY(
      auto rows,
      connection->query("SELECT 1 FROM repositories WHERE name = ? AND deletion IS NULL", {name}));
  return rows.next();
}

Result<std::vector<std::string>> SqliteStore::repositories(std::string_view after, size_t limit) {
  RUNNEL_TRY(const auto connection, reader());
  RUNNEL_TRY(auto rows,
             connection->query("SELECT name FROM repositories WHERE name > ? AND deletion IS NULL "
                               "ORDER BY name LIMIT ?",
                               {after, static_cast<int64_t>(limit)}));
  return texts(std::move(rows));
}

Result<int64_t> SqliteStore::make_repository(std::string_view name) {
  RUNNEL_TRY([[maybe_unused]] auto made,
             writer_->run("INSERT INTO repositories (name, created_at) VALUES (?, ?) "
                          "ON CONFLICT DO UPDATE SET deletion = NULL WHERE deletion IS NOT NULL",
                          {name, now()}));
  RUNNEL_TRY(auto rows, writer_->query("SELECT id FROM repositories WHERE name = ?", {name}));
  RUNNEL_TRY(const bool found, rows.next());
  if (!found)
    return fail(Code::kUnavailable, "metadata: damaged: repository {} was made and is not there",
                name);
  return rows.integer(0);
}

Result<std::optional<uint64_t>> SqliteStore::blob_size(std::string_view repository,
                                                       const oci::Digest& digest) {
  RUNNEL_TRY(const auto connection, reader());
  RUNNEL_TRY(auto rows, connection->query(kLinkOf, {digest.to_string(), repository}));
  RUNNEL_TRY(const bool found, rows.next());
  if (!found) return std::nullopt;
  return static_cast<uint64_t>(rows.integer(0));
}

Result<void> SqliteStore::insert_link(std::string_view repository, const oci::Digest& digest,
                                      uint64_t size) {
  RUNNEL_TRY(const int64_t id, make_repository(repository));
  RUNNEL_TRY([[maybe_unused]] auto linked,
             writer_->run("INSERT INTO blob_links (repository, digest, size, linked_at) "
                          "VALUES (?, ?, ?, ?) "
                          "ON CONFLICT DO UPDATE SET size = excluded.size, "
                          "linked_at = excluded.linked_at, hidden = 0, review = 1",
                          {id, digest.to_string(), static_cast<int64_t>(size), now()}));
  return {};
}

Result<void> SqliteStore::link_blob(std::string_view repository, const oci::Digest& digest,
                                    uint64_t size) {
  const std::lock_guard lock(writing_);
  RUNNEL_TRY(auto transaction, Transaction::write(*writer_));
  RUNNEL_DO(insert_link(repository, digest, size));
  return transaction.commit();
}

Result<bool> SqliteStore::mount_blob(std::string_view from, std::string_view to,
                                     const oci::Digest& digest) {
  const std::lock_guard lock(writing_);
  RUNNEL_TRY(auto transaction, Transaction::write(*writer_));
  int64_t size = 0;
  {
    RUNNEL_TRY(auto rows, writer_->query(kLinkOf, {digest.to_string(), from}));
    RUNNEL_TRY(const bool found, rows.next());
    if (!found) return false;
    size = rows.integer(0);
  }
  RUNNEL_DO(insert_link(to, digest, static_cast<uint64_t>(size)));
  RUNNEL_DO(transaction.commit());
  return true;
}

Result<std::vector<std::string>> SqliteStore::repositories_with_blob(const oci::Digest& digest,
                                                                     size_t limit) {
  RUNNEL_TRY(const auto connection, reader());
  RUNNEL_TRY(auto rows, connection->query("SELECT r.name FROM blob_links l "
                                          "JOIN repositories r ON r.id = l.repository "
                                          "WHERE l.digest = ? AND l.hidden = 0 "
                                          "ORDER BY l.repository LIMIT ?",
                                          {digest.to_string(), static_cast<int64_t>(limit)}));
  return texts(std::move(rows));
}

Result<UnlinkOutcome> SqliteStore::unlink_blob(std::string_view repository,
                                               const oci::Digest& digest) {
  const std::lock_guard lock(writing_);
  RUNNEL_TRY(auto transaction, Transaction::write(*writer_));
  RUNNEL_TRY(const auto id, live_repository(repository));
  if (!id) return UnlinkOutcome::kAbsent;
  bool kept = false;  // a deleted manifest that names it can come back
  {
    RUNNEL_TRY(auto rows,
               writer_->query("SELECT EXISTS (SELECT 1 FROM manifest_references f "
                              "WHERE f.repository = ?1 AND f.digest = ?2), "
                              "EXISTS (SELECT 1 FROM manifest_references f "
                              "JOIN manifests m ON m.id = f.manifest WHERE f.repository = ?1 "
                              "AND f.digest = ?2 AND m.deletion IS NULL) FROM blob_links "
                              "WHERE repository = ?1 AND digest = ?2 AND hidden = 0",
                              {*id, digest.to_string()}));
    RUNNEL_TRY(const bool found, rows.next());
    if (!found) return UnlinkOutcome::kAbsent;
    kept = rows.integer(0) != 0;
    if (rows.integer(1) != 0) return UnlinkOutcome::kReferenced;
  }
  const auto* sql = kept ? "UPDATE blob_links SET hidden = 1 WHERE digest = ? AND repository = ?"
                         : "DELETE FROM blob_links WHERE digest = ? AND repository = ?";
  RUNNEL_DO(writer_->run(sql, {digest.to_string(), *id}));
  RUNNEL_DO(transaction.commit());
  return UnlinkOutcome::kRemoved;
}

Result<std::optional<uint64_t>> SqliteStore::lease_blob(std::string_view repository,
                                                        const oci::Digest& digest,
                                                        Duration renew_after) {
  const int64_t old = to_milliseconds(clock_.wall() - renew_after);
  {
    RUNNEL_TRY(const auto connection, reader());
    RUNNEL_TRY(auto rows, connection->query(kLinkOf, {digest.to_string(), repository}));
    RUNNEL_TRY(const bool found, rows.next());
    if (!found) return std::nullopt;
    if (rows.integer(1) >= old) return static_cast<uint64_t>(rows.integer(0));
  }
  const std::lock_guard lock(writing_);
  RUNNEL_TRY(const int64_t renewed,
             writer_->run("UPDATE blob_links SET linked_at = ? WHERE digest = ? AND hidden = 0 "
                          "AND repository = (SELECT id FROM repositories WHERE name = ?)",
                          {now(), digest.to_string(), repository}));
  if (renewed == 0) return std::nullopt;  // unlinked meanwhile
  RUNNEL_TRY(auto rows, writer_->query(kLinkOf, {digest.to_string(), repository}));
  RUNNEL_TRY(const bool found, rows.next());
  if (!found) return std::nullopt;
  return static_cast<uint64_t>(rows.integer(0));
}

Result<void> SqliteStore::create_upload(const Upload& upload) {
  const std::lock_guard lock(writing_);
  RUNNEL_TRY([[maybe_unused]] auto made,
             relaxed_writer_->run(kInsertUpload, {upload.id, upload.repository,
                                                  static_cast<int64_t>(upload.received),
                                                  to_milliseconds(upload.expires), upload.owner}));
  return {};
}

Result<std::optional<Upload>> SqliteStore::upload(std::string_view repository,
                                                  std::string_view id) {
  RUNNEL_TRY(const auto connection, reader());
  RUNNEL_TRY(auto rows, connection->query("SELECT id, repository, received, expires_at, owner "
                                          "FROM uploads WHERE id = ? AND repository = ?",
                                          {id, repository}));
  RUNNEL_TRY(const bool found, rows.next());
  if (!found) return std::nullopt;
  return upload_of(rows);
}

Result<void> SqliteStore::record_received(std::string_view repository, std::string_view id,
                                          uint64_t received, WallTime expires) {
  const std::lock_guard lock(writing_);
  RUNNEL_TRY(const int64_t changed, writer_->run("UPDATE uploads SET received = ?, expires_at = ? "
                                                 "WHERE id = ? AND repository = ?",
                                                 {static_cast<int64_t>(received),
                                                  to_milliseconds(expires), id, repository}));
  if (changed == 0) return fail(Code::kNotFound, "upload {} is gone", id);
  return {};
}

Result<void> SqliteStore::finish_upload(std::string_view repository, std::string_view id,
                                        const oci::Digest& digest, uint64_t size,
                                        const std::function<Result<bool>()>& is_stored) {
  const std::lock_guard lock(writing_);
  RUNNEL_TRY(auto transaction, Transaction::write(*writer_));
  RUNNEL_TRY(const int64_t ended, writer_->run(kDeleteUpload, {id, repository}));
  if (ended == 0) return fail(Code::kNotFound, "upload {} is gone", id);
  // Within the transaction, which remove_if_unlinked cannot interrupt.
  RUNNEL_TRY(const bool stored, is_stored());
  if (!stored)
    return fail(Code::kUnavailable, "blob {} was thrown away as it was pushed: push it again",
                digest);
  RUNNEL_DO(insert_link(repository, digest, size));
  return transaction.commit();
}

Result<bool> SqliteStore::delete_upload(std::string_view repository, std::string_view id) {
  const std::lock_guard lock(writing_);
  RUNNEL_TRY(const int64_t removed, writer_->run(kDeleteUpload, {id, repository}));
  return removed != 0;
}

Result<bool> SqliteStore::upload_exists(std::string_view id) {
  RUNNEL_TRY(const auto connection, reader());
  RUNNEL_TRY(auto rows, connection->query("SELECT 1 FROM uploads WHERE id = ?", {id}));
  return rows.next();
}

Result<std::vector<Upload>> SqliteStore::expired_uploads(WallTime now, size_t limit) {
  RUNNEL_TRY(const auto connection, reader());
  RUNNEL_TRY(auto rows, connection->query("SELECT id, repository, received, expires_at, owner "
                                          "FROM uploads WHERE expires_at <= ? LIMIT ?",
                                          {to_milliseconds(now), static_cast<int64_t>(limit)}));
  std::vector<Upload> found;
  while (true) {
    RUNNEL_TRY(const bool more, rows.next());
    if (!more) return found;
    found.push_back(upload_of(rows));
  }
}

}  // namespace runnel::meta
