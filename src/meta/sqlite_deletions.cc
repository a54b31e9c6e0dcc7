// The SQLite driver's deletions, and how they are undone and forgotten.
//
// A row that a deletion took has its id in `deletion` and stays where it is, so that whatever it
// refers to stays too: the collector sees no difference. Tags are moved to `deleted_tags`. What is
// forgotten goes row by row, in the order of tags, manifests, links; a deletion of which something
// is gone is `forgotten`, and nothing but the rest of its work refers to it any more.
#include <algorithm>
#include <limits>
#include <thread>

#include "base/log.h"
#include "meta/sqlite_reader.h"
#include "meta/sqlite_store.h"
#include "meta/stored_digest.h"
#include "meta/stored_time.h"
#include "oci/media_types.h"

namespace runnel::meta {

namespace {

// So much in one transaction that pushes wait for a moment only: a manifest takes 0.3 ms.
constexpr int64_t kForgetAtOnce = 200;
// What one call does of a deletion: a second's work at most, with its rests. A large repository
// takes many, in which the caller would keep a thread.
constexpr int kStepsACall = 5;

constexpr const char* kDeletionColumns =
    "SELECT d.id, d.kind, r.name, COALESCE(m.digest, ''), d.deleted_at FROM deletions d "
    "JOIN repositories r ON r.id = d.repository LEFT JOIN manifests m ON m.id = d.manifest ";

Result<Deletion> deletion_of(const Query& row) {
  Deletion found;
  found.id = row.integer(0);
  found.kind = static_cast<Deletion::Kind>(row.integer(1));
  found.repository = row.text(2);
  if (!row.text(3).empty()) {
    RUNNEL_TRY(found.digest, stored_digest(row.text(3)));
  }
  found.deleted = from_milliseconds(row.integer(4));
  return found;
}

Result<void> add_tags(Connection& connection, std::vector<Deletion>& found) {
  for (auto& each : found) {
    RUNNEL_TRY(auto rows,
               connection.query("SELECT name FROM deleted_tags WHERE deletion = ? ORDER BY name",
                                {each.id}));
    while (true) {
      RUNNEL_TRY(const bool more, rows.next());
      if (!more) break;
      each.tags.emplace_back(rows.text(0));
    }
  }
  return {};
}

Result<std::vector<Deletion>> all_of(Connection& connection, Query rows) {
  std::vector<Deletion> found;
  while (true) {
    RUNNEL_TRY(const bool more, rows.next());
    if (!more) break;
    RUNNEL_TRY(auto each, deletion_of(rows));
    found.push_back(std::move(each));
  }
  RUNNEL_DO(add_tags(connection, found));
  return found;
}

}  // namespace

Result<std::optional<int64_t>> SqliteStore::live_repository(std::string_view name) {
  RUNNEL_TRY(
      auto rows,
      writer_->query("SELECT id FROM repositories WHERE name = ? AND deletion IS NULL", {name}));
  RUNNEL_TRY(const bool found, rows.next());
  if (!found) return std::nullopt;
  return rows.integer(0);
}

Result<int64_t> SqliteStore::insert_deletion(Deletion::Kind kind, int64_t repository,
                                             SqlValue manifest) {
  RUNNEL_DO(
      writer_->run("INSERT INTO deletions (kind, repository, manifest, deleted_at) "
                   "VALUES (?, ?, ?, ?)",
                   {static_cast<int64_t>(kind), repository, manifest, now()}));
  return writer_->last_id();
}

Result<void> SqliteStore::take_tags(int64_t deletion) {
  RUNNEL_DO(
      writer_->run("INSERT INTO deleted_tags (deletion, name, manifest) "
                   "SELECT ?1, t.name, t.manifest FROM manifests m "
                   "JOIN tags t ON t.manifest = m.id WHERE m.deletion = ?1",
                   {deletion}));
  RUNNEL_DO(
      writer_->run("DELETE FROM tags WHERE manifest IN "
                   "(SELECT id FROM manifests WHERE deletion = ?)",
                   {deletion}));
  return {};
}

Result<bool> SqliteStore::delete_manifest(std::string_view repository, const oci::Digest& digest,
                                          Undo undo, const std::vector<DocumentPattern>& waiting) {
  const std::lock_guard lock(writing_);
  RUNNEL_TRY(auto transaction, Transaction::write(*writer_));
  RUNNEL_TRY(const auto repository_id, live_repository(repository));
  if (!repository_id) return false;
  int64_t manifest = 0;
  {
    RUNNEL_TRY(auto rows, writer_->query("SELECT id FROM manifests WHERE repository = ? "
                                         "AND digest = ? AND deletion IS NULL",
                                         {*repository_id, digest.to_string()}));
    RUNNEL_TRY(const bool found, rows.next());
    if (!found) return false;
    manifest = rows.integer(0);
  }
  RUNNEL_TRY(const int64_t id,
             insert_deletion(Deletion::Kind::kManifest, *repository_id, manifest));
  RUNNEL_DO(writer_->run("UPDATE manifests SET deletion = ? WHERE id = ?", {id, manifest}));
  RUNNEL_DO(
      writer_->run("UPDATE manifests SET deletion = ? WHERE repository = ? AND subject = ? "
                   "AND artifact_type IN (?, ?) AND deletion IS NULL",
                   {id, *repository_id, digest.to_string(), oci::kStreamingArtifactHere,
                    oci::kStreamingArtifactElsewhere}));
  RUNNEL_DO(take_tags(id));
  RUNNEL_DO(remove_documents(waiting));
  if (undo == Undo::kNever) RUNNEL_DO(forget_within(id));
  RUNNEL_DO(transaction.commit());
  return true;
}

Result<std::vector<std::string>> SqliteStore::taken_with(std::string_view repository,
                                                         const oci::Digest& digest) {
  RUNNEL_TRY(const auto connection, reader());
  RUNNEL_TRY(const auto transaction, Transaction::read(*connection));
  std::vector<std::string> found;
  std::vector<int64_t> manifests;
  const auto collect = [&](Query rows) -> Result<void> {
    while (true) {
      RUNNEL_TRY(const bool more, rows.next());
      if (!more) return {};
      manifests.push_back(rows.integer(0));
      found.emplace_back(rows.text(1));
    }
  };
  RUNNEL_TRY(auto image,
             connection->query("SELECT m.id, m.digest FROM manifests m JOIN repositories r "
                               "ON r.id = m.repository WHERE r.name = ? AND m.digest = ? "
                               "AND m.deletion IS NULL",
                               {repository, digest.to_string()}));
  RUNNEL_DO(collect(std::move(image)));
  RUNNEL_TRY(auto artifacts,
             connection->query("SELECT m.id, m.digest FROM manifests m JOIN repositories r "
                               "ON r.id = m.repository WHERE r.name = ? AND m.subject = ? "
                               "AND m.artifact_type IN (?, ?) AND m.deletion IS NULL",
                               {repository, digest.to_string(), oci::kStreamingArtifactHere,
                                oci::kStreamingArtifactElsewhere}));
  RUNNEL_DO(collect(std::move(artifacts)));
  for (const auto id : manifests) {
    RUNNEL_TRY(auto rows, connection->query("SELECT name FROM tags WHERE manifest = ?", {id}));
    while (true) {
      RUNNEL_TRY(const bool more, rows.next());
      if (!more) break;
      found.emplace_back(rows.text(0));
    }
  }
  return found;
}

Result<int64_t> SqliteStore::target_of(int64_t repository, std::string_view tag) {
  RUNNEL_TRY(auto rows,
             writer_->query("SELECT manifest FROM tags WHERE repository = ? AND name = ?",
                            {repository, tag}));
  RUNNEL_TRY(const bool found, rows.next());
  return found ? rows.integer(0) : 0;
}

Result<bool> SqliteStore::delete_tag(std::string_view repository, std::string_view tag, Undo undo,
                                     const std::vector<DocumentPattern>& waiting) {
  const std::lock_guard lock(writing_);
  RUNNEL_TRY(auto transaction, Transaction::write(*writer_));
  RUNNEL_TRY(const auto repository_id, live_repository(repository));
  if (!repository_id) return false;
  RUNNEL_TRY(const int64_t waited, remove_documents(waiting));
  RUNNEL_TRY(const int64_t manifest, target_of(*repository_id, tag));
  if (manifest == 0) {
    RUNNEL_DO(transaction.commit());
    return waited != 0;
  }
  RUNNEL_TRY(const int64_t id, insert_deletion(Deletion::Kind::kTag, *repository_id, manifest));
  RUNNEL_DO(writer_->run("INSERT INTO deleted_tags (deletion, name, manifest) VALUES (?, ?, ?)",
                         {id, tag, manifest}));
  RUNNEL_DO(
      writer_->run("DELETE FROM tags WHERE repository = ? AND name = ?", {*repository_id, tag}));
  if (undo == Undo::kNever) RUNNEL_DO(forget_within(id));
  RUNNEL_DO(transaction.commit());
  return true;
}

Result<bool> SqliteStore::delete_repository(std::string_view name, Undo undo,
                                            const std::vector<DocumentPattern>& waiting) {
  RUNNEL_TRY(const auto deletion, take_repository(name, undo, waiting));
  if (deletion && undo == Undo::kNever) forget_marked(*deletion);
  return deletion.has_value();
}

Result<std::optional<int64_t>> SqliteStore::take_repository(
    std::string_view name, Undo undo, const std::vector<DocumentPattern>& waiting) {
  const std::lock_guard lock(writing_);
  RUNNEL_TRY(auto transaction, Transaction::write(*writer_));
  RUNNEL_TRY(const auto repository, live_repository(name));
  if (!repository) return std::nullopt;
  RUNNEL_TRY(const int64_t id, insert_deletion(Deletion::Kind::kRepository, *repository, nullptr));
  RUNNEL_DO(
      writer_->run("UPDATE manifests SET deletion = ? WHERE repository = ? "
                   "AND deletion IS NULL",
                   {id, *repository}));
  RUNNEL_DO(take_tags(id));
  RUNNEL_DO(writer_->run("UPDATE blob_links SET hidden = 1 WHERE repository = ?", {*repository}));
  RUNNEL_DO(writer_->run("UPDATE repositories SET deletion = ? WHERE id = ?", {id, *repository}));
  RUNNEL_DO(remove_documents(waiting));
  if (undo == Undo::kNever) RUNNEL_DO(mark_forgotten(id));
  RUNNEL_DO(transaction.commit());
  return id;
}

Result<std::vector<Deletion>> SqliteStore::deletions(std::string_view repository, int64_t before,
                                                     size_t limit) {
  RUNNEL_TRY(const auto connection, reader());
  RUNNEL_TRY(const auto transaction, Transaction::read(*connection));
  static const std::string one =
      std::string(kDeletionColumns) +
      "WHERE r.name = ? AND d.id < ? AND d.forgotten = 0 ORDER BY d.id DESC LIMIT ?";
  static const std::string all = std::string(kDeletionColumns) +
                                 "WHERE d.id < ? AND d.forgotten = 0 ORDER BY d.id DESC LIMIT ?";
  const auto count = static_cast<int64_t>(limit);
  RUNNEL_TRY(auto rows, repository.empty()
                            ? connection->query(all.c_str(), {before, count})
                            : connection->query(one.c_str(), {repository, before, count}));
  return all_of(*connection, std::move(rows));
}

Result<std::optional<Deletion>> SqliteStore::deletion(int64_t id) {
  RUNNEL_TRY(const auto connection, reader());
  RUNNEL_TRY(const auto transaction, Transaction::read(*connection));
  static const std::string sql =
      std::string(kDeletionColumns) + "WHERE d.id = ? AND d.forgotten = 0";
  RUNNEL_TRY(auto rows, connection->query(sql.c_str(), {id}));
  RUNNEL_TRY(auto found, all_of(*connection, std::move(rows)));
  if (found.empty()) return std::nullopt;
  return std::move(found.front());
}

// Within a transaction: the manifest, with the streaming artifacts that went with it.
Result<void> SqliteStore::revive_manifest(int64_t manifest) {
  std::vector<int64_t> revived = {manifest};
  int64_t repository = 0;
  {
    // By the subject and not by the deletion, of which there may be many manifests.
    RUNNEL_TRY(
        auto rows,
        writer_->query("SELECT a.id, s.repository FROM manifests s LEFT JOIN manifests a "
                       "ON a.repository = s.repository AND a.subject = s.digest "
                       "AND +a.deletion = s.deletion AND a.artifact_type IN (?, ?) "
                       "WHERE s.id = ?",
                       {oci::kStreamingArtifactHere, oci::kStreamingArtifactElsewhere, manifest}));
    while (true) {
      RUNNEL_TRY(const bool more, rows.next());
      if (!more) break;
      if (rows.integer(0) != 0) revived.push_back(rows.integer(0));
      repository = rows.integer(1);
    }
  }
  for (const auto id : revived) {
    RUNNEL_DO(
        writer_->run("UPDATE blob_links SET hidden = 0 WHERE hidden = 1 AND repository = ?1 AND "
                     "digest IN (SELECT digest FROM manifest_references WHERE manifest = ?2)",
                     {repository, id}));
    RUNNEL_DO(writer_->run("UPDATE manifests SET deletion = NULL WHERE id = ?", {id}));
  }
  // A deletion of which nothing is left.
  RUNNEL_DO(
      writer_->run("DELETE FROM deletions AS d WHERE manifest = ? AND kind = 0 "
                   "AND NOT EXISTS (SELECT 1 FROM deleted_tags t WHERE t.deletion = d.id) "
                   "AND NOT EXISTS (SELECT 1 FROM manifests m WHERE m.deletion = d.id)",
                   {manifest}));
  return {};
}

Result<size_t> SqliteStore::revive_all(int64_t deletion) {
  RUNNEL_DO(
      writer_->run("UPDATE blob_links SET hidden = 0 WHERE hidden = 1 AND repository = "
                   "(SELECT repository FROM deletions WHERE id = ?1) AND digest IN "
                   "(SELECT f.digest FROM manifests m "
                   "JOIN manifest_references f ON f.manifest = m.id WHERE m.deletion = ?1)",
                   {deletion}));
  RUNNEL_TRY(const int64_t count,
             writer_->run("UPDATE manifests SET deletion = NULL WHERE deletion = ?", {deletion}));
  return static_cast<size_t>(count);
}

// A tag of a manifest that another deletion took is left to that one.
Result<void> SqliteStore::restore_tags(int64_t deletion, bool replace, Restored& restored) {
  struct Row {
    std::string name;
    int64_t manifest, repository, current;
  };
  std::vector<Row> found;
  {
    RUNNEL_TRY(auto rows,
               writer_->query("SELECT d.name, d.manifest, m.repository, COALESCE(t.manifest, 0) "
                              "FROM deleted_tags d JOIN manifests m ON m.id = d.manifest "
                              "LEFT JOIN tags t ON t.repository = m.repository AND t.name = d.name "
                              "WHERE d.deletion = ? AND m.deletion IS NULL",
                              {deletion}));
    while (true) {
      RUNNEL_TRY(const bool more, rows.next());
      if (!more) break;
      found.emplace_back(std::string(rows.text(0)), rows.integer(1), rows.integer(2),
                         rows.integer(3));
    }
  }
  for (auto& row : found) {
    const bool newer = row.current != 0 && row.current != row.manifest;
    if (newer && !replace) {
      restored.kept_tags.push_back(std::move(row.name));
      continue;
    }
    RUNNEL_DO(point_tag(row.repository, row.name, row.manifest, Undo::kPossible));
    restored.tags.push_back(std::move(row.name));
  }
  return {};
}

Result<void> SqliteStore::check_unmoved(int64_t repository, const TagMove& move) {
  RUNNEL_TRY(auto rows, writer_->query("SELECT m.digest FROM tags t JOIN manifests m "
                                       "ON m.id = t.manifest WHERE t.repository = ? AND t.name = ?",
                                       {repository, move.tag}));
  RUNNEL_TRY(const bool found, rows.next());
  const bool unmoved =
      found ? move.from && rows.text(0) == move.from->to_string() : !move.from.has_value();
  if (unmoved) return {};
  return fail(Code::kConflict, "tag {} was moved meanwhile: look at it again", move.tag);
}

Result<std::optional<Restored>> SqliteStore::restore(int64_t id,
                                                     const std::optional<TagMove>& move) {
  const std::lock_guard lock(writing_);
  RUNNEL_TRY(auto transaction, Transaction::write(*writer_));
  Deletion::Kind kind;
  int64_t repository = 0;
  int64_t manifest = 0;
  bool manifest_is_deleted = false;  // by another deletion
  {
    // Nor what a tag points to comes back once it is being forgotten.
    RUNNEL_TRY(auto rows,
               writer_->query("SELECT d.kind, d.manifest, m.deletion IS NOT NULL "
                              "AND m.deletion <> d.id, d.repository FROM deletions d "
                              "LEFT JOIN manifests m ON m.id = d.manifest WHERE d.id = ? "
                              "AND d.forgotten = 0 AND NOT EXISTS (SELECT 1 FROM deletions f "
                              "WHERE f.id = m.deletion AND f.forgotten = 1)",
                              {id}));
    RUNNEL_TRY(const bool found, rows.next());
    if (!found) return std::nullopt;
    kind = static_cast<Deletion::Kind>(rows.integer(0));
    manifest = rows.integer(1);
    manifest_is_deleted = manifest != 0 && rows.integer(2) != 0;
    repository = rows.integer(3);
  }
  if (move && manifest == 0) return fail(Code::kInvalid, "deletion {} is a repository's", id);
  if (move) RUNNEL_DO(check_unmoved(repository, *move));
  Restored restored;
  RUNNEL_TRY(restored.manifests, revive_all(id));
  const bool of_tag = kind == Deletion::Kind::kTag || kind == Deletion::Kind::kOverwrite;
  if ((of_tag || move) && manifest_is_deleted) {
    RUNNEL_DO(revive_manifest(manifest));
    ++restored.manifests;
  }
  RUNNEL_DO(
      writer_->run("UPDATE repositories SET deletion = NULL WHERE id = "
                   "(SELECT repository FROM deletions WHERE id = ?)",
                   {id}));
  if (move) {
    RUNNEL_DO(point_tag(repository, move->tag, manifest, Undo::kPossible));
    RUNNEL_DO(remove_documents(move->waiting));
  }
  RUNNEL_DO(restore_tags(id, of_tag && !move, restored));
  if (move && std::ranges::find(restored.tags, move->tag) == restored.tags.end())
    restored.tags.push_back(move->tag);
  RUNNEL_DO(writer_->run("DELETE FROM deletions WHERE id = ?", {id}));
  RUNNEL_DO(transaction.commit());
  return restored;
}

Result<void> SqliteStore::forget_within(int64_t deletion) {
  auto room = std::numeric_limits<int64_t>::max();
  RUNNEL_TRY([[maybe_unused]] const bool done, forget_some(deletion, room));
  return {};
}

Result<bool> SqliteStore::forget_some(int64_t deletion, int64_t& room) {
  RUNNEL_DO(mark_forgotten(deletion));
  for (const auto part :
       {&SqliteStore::forget_tags, &SqliteStore::forget_manifests, &SqliteStore::forget_links}) {
    RUNNEL_TRY(const int64_t gone, (this->*part)(deletion, room));
    room -= gone;
    if (room <= 0) return false;
  }
  RUNNEL_DO(forget_repository(deletion));
  RUNNEL_DO(writer_->run("DELETE FROM deletions WHERE id = ?", {deletion}));
  --room;
  return true;
}

Result<int64_t> SqliteStore::forget_tags(int64_t deletion, int64_t room) {
  return writer_->run(
      "DELETE FROM deleted_tags WHERE deletion = ?1 AND name IN "
      "(SELECT name FROM deleted_tags WHERE deletion = ?1 ORDER BY name LIMIT ?2)",
      {deletion, room});
}

// The blobs that they name may be loose now.
Result<int64_t> SqliteStore::forget_manifests(int64_t deletion, int64_t room) {
  RUNNEL_DO(
      writer_->run("UPDATE blob_links SET review = 1 WHERE repository = "
                   "(SELECT repository FROM deletions WHERE id = ?1) AND digest IN "
                   "(SELECT f.digest FROM manifest_references f WHERE f.manifest IN "
                   "(SELECT id FROM manifests WHERE deletion = ?1 ORDER BY id LIMIT ?2))",
                   {deletion, room}));
  return writer_->run(
      "DELETE FROM manifests WHERE id IN "
      "(SELECT id FROM manifests WHERE deletion = ?1 ORDER BY id LIMIT ?2)",
      {deletion, room});
}

// Of a repository that the deletion alone keeps out of sight; of one that others keep, too, those
// that no manifest ever needed have nothing else that reminds the collector of them.
Result<int64_t> SqliteStore::forget_links(int64_t deletion, int64_t room) {
  int64_t repository = 0;
  bool others = false;
  {
    RUNNEL_TRY(auto rows, writer_->query("SELECT r.id, EXISTS (SELECT 1 FROM deletions d WHERE "
                                         "d.repository = r.id AND d.id <> ?1) "
                                         "FROM repositories r WHERE r.deletion = ?1",
                                         {deletion}));
    RUNNEL_TRY(const bool found, rows.next());
    if (!found) return 0;
    repository = rows.integer(0);
    others = rows.integer(1) != 0;
  }
  if (others)
    return writer_->run(
        "UPDATE blob_links SET review = 1 WHERE repository = ?1 AND digest IN (SELECT digest "
        "FROM blob_links WHERE repository = ?1 AND hidden = 1 AND review = 0 LIMIT ?2)",
        {repository, room});
  return writer_->run(
      "DELETE FROM blob_links WHERE repository = ?1 AND digest IN "
      "(SELECT digest FROM blob_links WHERE repository = ?1 LIMIT ?2)",
      {repository, room});
}

// The repository that the deletion keeps out of sight, if it does. Its row goes with its last
// deletion; until then the next newest keeps it.
Result<void> SqliteStore::forget_repository(int64_t deletion) {
  RUNNEL_DO(
      writer_->run("UPDATE repositories AS r SET deletion = (SELECT max(d.id) FROM "
                   "deletions d WHERE d.repository = r.id AND d.id <> ?1) "
                   "WHERE r.deletion = ?1 AND EXISTS (SELECT 1 FROM deletions d "
                   "WHERE d.repository = r.id AND d.id <> ?1)",
                   {deletion}));
  RUNNEL_DO(writer_->run("DELETE FROM repositories WHERE deletion = ?", {deletion}));
  return {};
}

// Without its manifest, with which it would go before the rest of its work.
Result<void> SqliteStore::mark_forgotten(int64_t deletion) {
  RUNNEL_DO(
      writer_->run("UPDATE deletions SET forgotten = 1, manifest = NULL WHERE id = ?", {deletion}));
  return {};
}

Result<bool> SqliteStore::forget(int64_t id) {
  {
    const std::lock_guard lock(writing_);
    RUNNEL_TRY(auto transaction, Transaction::write(*writer_));
    {
      RUNNEL_TRY(auto rows,
                 writer_->query("SELECT 1 FROM deletions WHERE id = ? AND forgotten = 0", {id}));
      RUNNEL_TRY(const bool found, rows.next());
      if (!found) return false;
    }
    RUNNEL_DO(mark_forgotten(id));
    RUNNEL_DO(transaction.commit());
  }
  forget_marked(id);
  return true;
}

// Rests as long as it works: other processes, which ask again and again for SQLite's lock, find it
// free, and so do threads that wait for the mutex.
void SqliteStore::forget_marked(int64_t deletion) {
  for (int step = 0; step < kStepsACall; ++step) {
    const auto begun = std::chrono::steady_clock::now();
    const auto done = forget_step(deletion);
    if (!done) log::warning("forgetting what was deleted: {}", done.error().message);
    if (!done || *done) return;
    std::this_thread::sleep_for(std::chrono::steady_clock::now() - begun);
  }
}

Result<bool> SqliteStore::forget_step(int64_t deletion) {
  const std::lock_guard lock(writing_);
  RUNNEL_TRY(auto transaction, Transaction::write(*writer_));
  auto room = kForgetAtOnce;
  RUNNEL_TRY(const bool done, forget_some(deletion, room));
  RUNNEL_DO(transaction.commit());
  return done;
}

Result<int64_t> SqliteStore::next_to_forget(WallTime before) {
  {
    RUNNEL_TRY(auto begun, writer_->query("SELECT id FROM deletions WHERE forgotten = 1 "
                                          "ORDER BY id LIMIT 1"));
    RUNNEL_TRY(const bool found, begun.next());
    if (found) return begun.integer(0);
  }
  RUNNEL_TRY(auto old, writer_->query("SELECT id FROM deletions WHERE deleted_at < ? "
                                      "ORDER BY deleted_at LIMIT 1",
                                      {to_milliseconds(before)}));
  RUNNEL_TRY(const bool found, old.next());
  return found ? old.integer(0) : 0;
}

Result<Forgotten> SqliteStore::forget_deletions(WallTime before, size_t limit) {
  const std::lock_guard lock(writing_);
  RUNNEL_TRY(auto transaction, Transaction::write(*writer_));
  Forgotten forgotten;
  auto room = static_cast<int64_t>(limit);
  while (true) {
    RUNNEL_TRY(const int64_t id, next_to_forget(before));
    forgotten.more = id != 0;
    if (id == 0 || room <= 0) break;
    RUNNEL_TRY(const bool done, forget_some(id, room));
    if (done) ++forgotten.deletions;
  }
  RUNNEL_DO(transaction.commit());
  return forgotten;
}

}  // namespace runnel::meta
