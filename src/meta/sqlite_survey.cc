// What the SQLite driver says of all that it has: for checks, backups and accounts.
#include <fcntl.h>
#include <unistd.h>

#include <filesystem>

#include "base/durable.h"
#include "base/fd.h"
#include "meta/sqlite_reader.h"
#include "meta/sqlite_store.h"
#include "meta/stored_digest.h"

namespace runnel::meta {

namespace {

// Each finds rows of which there must not be any; its first column names one.
constexpr struct {
  const char* sql;
  const char* what;
} kInvariants[] = {
    {"SELECT t.name FROM tags t JOIN manifests m ON m.id = t.manifest "
     "WHERE m.deletion IS NOT NULL OR m.repository <> t.repository",
     "a tag points to a manifest that is deleted or of another repository"},
    {"SELECT m.digest FROM manifests m WHERE m.deletion IS NOT NULL "
     "AND NOT EXISTS (SELECT 1 FROM deletions d WHERE d.id = m.deletion)",
     "a deleted manifest has no deletion that could bring it back"},
    {"SELECT r.name FROM repositories r WHERE r.deletion IS NOT NULL "
     "AND NOT EXISTS (SELECT 1 FROM deletions d WHERE d.id = r.deletion)",
     "a deleted repository has no deletion that could bring it back"},
    {"SELECT r.name FROM repositories r JOIN manifests m ON m.repository = r.id "
     "WHERE r.deletion IS NOT NULL AND m.deletion IS NULL",
     "a deleted repository has a manifest that is not deleted"},
};

}  // namespace

Result<void> SqliteStore::keep_links(const std::function<Result<void>()>& work) {
  const std::lock_guard lock(writing_);
  RUNNEL_TRY(const auto transaction, Transaction::write(*writer_));
  return work();
}

Result<std::vector<LinkedBlob>> SqliteStore::linked_blobs(const oci::Digest& after, size_t limit) {
  RUNNEL_TRY(const auto connection, reader());
  RUNNEL_TRY(auto rows,
             connection->query("SELECT digest, min(size), max(size) FROM blob_links "
                               "WHERE digest > ? GROUP BY digest ORDER BY digest LIMIT ?",
                               {after.to_string(), static_cast<int64_t>(limit)}));
  std::vector<LinkedBlob> found;
  while (true) {
    RUNNEL_TRY(const bool more, rows.next());
    if (!more) return found;
    RUNNEL_TRY(auto digest, stored_digest(rows.text(0)));
    found.push_back({std::move(digest), static_cast<uint64_t>(rows.integer(1)),
                     static_cast<uint64_t>(rows.integer(2))});
  }
}

Result<std::vector<PlacedManifest>> SqliteStore::all_manifests(int64_t after, size_t limit) {
  RUNNEL_TRY(const auto connection, reader());
  RUNNEL_TRY(auto rows,
             connection->query("SELECT m.id, r.name, m.digest, m.media_type, m.size, m.bytes, "
                               "m.deletion IS NOT NULL "
                               "FROM manifests m JOIN repositories r ON r.id = m.repository "
                               "WHERE m.id > ? ORDER BY m.id LIMIT ?",
                               {after, static_cast<int64_t>(limit)}));
  std::vector<PlacedManifest> found;
  while (true) {
    RUNNEL_TRY(const bool more, rows.next());
    if (!more) return found;
    PlacedManifest each;
    each.position = rows.integer(0);
    each.repository = rows.text(1);
    RUNNEL_TRY(each.stored.info.digest, stored_digest(rows.text(2)));
    each.stored.info.media_type = rows.text(3);
    each.stored.info.size = static_cast<uint64_t>(rows.integer(4));
    each.stored.bytes = rows.text(5);
    each.deleted = rows.integer(6) != 0;
    found.push_back(std::move(each));
  }
}

Result<size_t> SqliteStore::set_link_sizes(const oci::Digest& digest, uint64_t size) {
  const std::lock_guard lock(writing_);
  RUNNEL_TRY(const int64_t changed,
             writer_->run("UPDATE blob_links SET size = ?2 WHERE digest = ?1 AND size <> ?2",
                          {digest.to_string(), static_cast<int64_t>(size)}));
  return static_cast<size_t>(changed);
}

// A manifest whose deletion is its own takes that with it; otherwise the rest of the deletion
// stays.
Result<bool> SqliteStore::remove_if_unchanged(const PlacedManifest& placed) {
  const std::lock_guard lock(writing_);
  RUNNEL_TRY(auto transaction, Transaction::write(*writer_));
  int64_t own_deletion = 0;
  {
    RUNNEL_TRY(auto rows,
               writer_->query("SELECT COALESCE(d.id, 0) FROM manifests m LEFT JOIN deletions d "
                              "ON d.id = m.deletion AND d.manifest = m.id AND d.kind = 0 "
                              "WHERE m.id = ? AND m.size = ? AND CAST(m.bytes AS BLOB) = ?",
                              {placed.position, static_cast<int64_t>(placed.stored.info.size),
                               as_bytes(placed.stored.bytes)}));
    RUNNEL_TRY(const bool found, rows.next());
    if (!found) return false;
    own_deletion = rows.integer(0);
  }
  RUNNEL_DO(
      writer_->run("UPDATE blob_links SET review = 1 WHERE repository = "
                   "(SELECT repository FROM manifests WHERE id = ?1) AND digest IN "
                   "(SELECT digest FROM manifest_references WHERE manifest = ?1)",
                   {placed.position}));
  if (own_deletion != 0) RUNNEL_DO(forget_within(own_deletion));
  RUNNEL_DO(writer_->run("DELETE FROM manifests WHERE id = ?", {placed.position}));
  RUNNEL_DO(transaction.commit());
  return true;
}

Result<std::vector<std::string>> SqliteStore::find_damage() {
  RUNNEL_TRY(const auto connection, reader());
  RUNNEL_TRY(const auto transaction, Transaction::read(*connection));
  std::vector<std::string> found;
  const auto collect = [&](const char* sql, std::string_view what) -> Result<void> {
    RUNNEL_TRY(auto rows, connection->query(sql));
    while (true) {
      RUNNEL_TRY(const bool more, rows.next());
      if (!more) return {};
      if (rows.text(0) != "ok")
        found.push_back(fmt::format("metadata: {}: {}", what, rows.text(0)));
    }
  };
  RUNNEL_DO(collect("PRAGMA integrity_check(20)", "the file is damaged"));
  RUNNEL_DO(collect("SELECT \"table\" FROM pragma_foreign_key_check LIMIT 20",
                    "a row refers to one that is gone"));
  for (const auto& [sql, what] : kInvariants) RUNNEL_DO(collect(sql, what));
  return found;
}

Result<Usage> SqliteStore::usage() {
  RUNNEL_TRY(const auto connection, reader());
  RUNNEL_TRY(const auto transaction, Transaction::read(*connection));
  Usage usage;
  {
    RUNNEL_TRY(auto rows, connection->query(
                              "SELECT COALESCE(sum(size), 0), COALESCE(sum(size) FILTER "
                              "(WHERE links > 1), 0) FROM (SELECT max(size) AS size, count(*) AS "
                              "links FROM blob_links GROUP BY digest)"));
    RUNNEL_TRY([[maybe_unused]] const bool found, rows.next());
    usage.stored = static_cast<uint64_t>(rows.integer(0));
    usage.shared = static_cast<uint64_t>(rows.integer(1));
  }
  RUNNEL_TRY(
      auto rows,
      connection->query("SELECT r.name, COALESCE(l.logical, 0) + COALESCE(m.size, 0), "
                        "COALESCE(l.own, 0) + COALESCE(m.size, 0), COALESCE(m.size, 0) "
                        "FROM repositories r LEFT JOIN (SELECT repository, sum(size) AS logical, "
                        "sum(size) FILTER (WHERE NOT EXISTS (SELECT 1 FROM blob_links o "
                        "WHERE o.digest = b.digest AND o.repository <> b.repository)) AS own "
                        "FROM blob_links b GROUP BY repository) l ON l.repository = r.id "
                        "LEFT JOIN (SELECT repository, sum(size) AS size FROM manifests "
                        "GROUP BY repository) m ON m.repository = r.id ORDER BY r.name"));
  while (true) {
    RUNNEL_TRY(const bool more, rows.next());
    if (!more) return usage;
    usage.repositories.push_back({std::string(rows.text(0)), static_cast<uint64_t>(rows.integer(1)),
                                  static_cast<uint64_t>(rows.integer(2))});
    usage.logical += usage.repositories.back().logical;
    usage.stored += static_cast<uint64_t>(rows.integer(3));
  }
}

Result<void> SqliteStore::copy_to(const std::string& path) {
  {
    RUNNEL_TRY(const auto connection, reader());
    RUNNEL_DO(connection->run("VACUUM INTO ?", {std::string_view(path)}));
  }
  RUNNEL_TRY(const auto file, open_file(path, O_RDONLY));
  if (::fsync(file.get()) != 0) return fail_errno("sync {}", path);
  return sync_directory(std::filesystem::absolute(path).parent_path().string());
}

}  // namespace runnel::meta
