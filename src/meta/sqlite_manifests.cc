// The SQLite driver's manifests, tags and referrers.
#include <algorithm>

#include "meta/sqlite_reader.h"
#include "meta/sqlite_store.h"
#include "meta/stored_digest.h"

namespace runnel::meta {

namespace {

constexpr int64_t kBlob = 0;
constexpr int64_t kNamed = 1;

// Each in two forms: by digest and by tag.
constexpr const char* kInfoByDigest =
    "SELECT m.digest, m.media_type, m.size FROM manifests m "
    "JOIN repositories r ON r.id = m.repository WHERE r.name = ? AND m.digest = ? AND m.deletion "
    "IS NULL";
constexpr const char* kInfoByTag =
    "SELECT m.digest, m.media_type, m.size FROM tags t "
    "JOIN repositories r ON r.id = t.repository JOIN manifests m ON m.id = t.manifest "
    "WHERE r.name = ? AND t.name = ?";
constexpr const char* kManifestByDigest =
    "SELECT m.digest, m.media_type, m.size, m.bytes FROM manifests m "
    "JOIN repositories r ON r.id = m.repository WHERE r.name = ? AND m.digest = ? AND m.deletion "
    "IS NULL";
constexpr const char* kManifestByTag =
    "SELECT m.digest, m.media_type, m.size, m.bytes FROM tags t "
    "JOIN repositories r ON r.id = t.repository JOIN manifests m ON m.id = t.manifest "
    "WHERE r.name = ? AND t.name = ?";

std::string_view text_of(const ManifestName& name) {
  if (const auto* digest = std::get_if<oci::Digest>(&name)) return digest->to_string();
  return std::get<std::string>(name);
}

Result<ManifestInfo> info_of(const Query& row) {
  ManifestInfo info;
  RUNNEL_TRY(info.digest, stored_digest(row.text(0)));
  info.media_type = row.text(1);
  info.size = static_cast<uint64_t>(row.integer(2));
  return info;
}

Result<void> insert_references(Connection& connection, int64_t repository, int64_t manifest,
                               int64_t kind, const std::vector<oci::Digest>& digests) {
  for (const auto& digest : digests)
    RUNNEL_DO(
        connection.run("INSERT OR IGNORE INTO manifest_references (repository, digest, kind, "
                       "manifest) VALUES (?, ?, ?, ?)",
                       {repository, digest.to_string(), kind, manifest}));
  return {};
}

}  // namespace

Result<std::vector<oci::Digest>> SqliteStore::missing_blobs(std::string_view repository,
                                                            const NewManifest& manifest) {
  std::vector<oci::Digest> missing;
  if (!manifest.blobs_required) return missing;
  for (const auto& digest : manifest.blobs) {
    RUNNEL_TRY(
        auto rows,
        writer_->query("SELECT 1 FROM blob_links WHERE digest = ? AND hidden = 0 AND repository = "
                       "(SELECT id FROM repositories WHERE name = ?)",
                       {digest.to_string(), repository}));
    RUNNEL_TRY(const bool found, rows.next());
    if (!found && std::ranges::find(missing, digest) == missing.end()) missing.push_back(digest);
  }
  return missing;
}

Result<int64_t> SqliteStore::insert_manifest(int64_t repository, const NewManifest& manifest) {
  const auto descriptor = oci::to_json(manifest.descriptor);
  const auto subject = manifest.subject ? SqlValue(std::string_view(manifest.subject->to_string()))
                                        : SqlValue(nullptr);
  RUNNEL_TRY([[maybe_unused]] auto made,
             writer_->run("INSERT INTO manifests (repository, digest, media_type, size, pushed_at, "
                          "subject, artifact_type, descriptor, bytes) "
                          "VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)",
                          {repository, manifest.digest.to_string(), manifest.media_type,
                           static_cast<int64_t>(manifest.bytes.size()), now(), subject,
                           manifest.descriptor.artifact_type, descriptor, manifest.bytes}));
  const int64_t id = writer_->last_id();
  RUNNEL_DO(insert_references(*writer_, repository, id, kBlob, manifest.blobs));
  RUNNEL_DO(insert_references(*writer_, repository, id, kNamed, manifest.named));
  return id;
}

Result<PutManifestOutcome> SqliteStore::put_manifest(std::string_view repository,
                                                     const NewManifest& manifest) {
  const std::lock_guard lock(writing_);
  RUNNEL_TRY(auto transaction, Transaction::write(*writer_));
  PutManifestOutcome outcome;
  RUNNEL_TRY(outcome.missing, missing_blobs(repository, manifest));
  if (!outcome.missing.empty()) return outcome;
  RUNNEL_TRY(const int64_t repository_id, make_repository(repository));
  RUNNEL_TRY(const auto manifest_row, have_manifest(repository_id, manifest));
  outcome.created = manifest_row.second;
  for (const auto& tag : manifest.tags)
    RUNNEL_DO(point_tag(repository_id, tag, manifest_row.first, manifest.undo));
  RUNNEL_DO(remove_documents(manifest.replaces));
  RUNNEL_DO(insert_documents(manifest.documents));
  RUNNEL_DO(transaction.commit());
  return outcome;
}

Result<bool> SqliteStore::point_waiting_tag(const WaitingTag& waiting) {
  const std::lock_guard lock(writing_);
  RUNNEL_TRY(auto transaction, Transaction::write(*writer_));
  RUNNEL_TRY(const int64_t waited, remove_document(waiting.document));
  if (waited == 0) return false;
  int64_t repository = 0;
  int64_t manifest = 0;
  {
    RUNNEL_TRY(auto rows, writer_->query("SELECT m.repository, m.id FROM manifests m "
                                         "JOIN repositories r ON r.id = m.repository "
                                         "WHERE r.name = ? AND m.digest = ? AND m.deletion IS NULL",
                                         {waiting.repository, waiting.digest.to_string()}));
    RUNNEL_TRY(const bool found, rows.next());
    if (found) {
      repository = rows.integer(0);
      manifest = rows.integer(1);
    }
  }
  if (manifest != 0) RUNNEL_DO(point_tag(repository, waiting.tag, manifest, waiting.undo));
  RUNNEL_DO(transaction.commit());
  return manifest != 0;
}

Result<std::pair<int64_t, bool>> SqliteStore::have_manifest(int64_t repository,
                                                            const NewManifest& manifest) {
  int64_t id = 0;
  bool deleted = false;
  bool good = false;
  {
    RUNNEL_TRY(auto rows,
               writer_->query("SELECT id, deletion IS NOT NULL, bytes = ?3 AND "
                              "size = length(?3) FROM manifests "
                              "WHERE repository = ?1 AND digest = ?2",
                              {repository, manifest.digest.to_string(), manifest.bytes}));
    RUNNEL_TRY(const bool found, rows.next());
    if (found) id = rows.integer(0);
    deleted = found && rows.integer(1) != 0;
    good = !found || rows.integer(2) != 0;
  }
  // A push is the one cure for bytes that went bad.
  if (!good)
    RUNNEL_DO(writer_->run("UPDATE manifests SET bytes = ?2, size = length(?2) WHERE id = ?1",
                           {id, manifest.bytes}));
  if (deleted) {
    RUNNEL_DO(revive_manifest(id));
  } else if (id == 0) {
    RUNNEL_TRY(const int64_t made, insert_manifest(repository, manifest));
    return std::pair(made, true);
  }
  return std::pair(id, deleted);
}

Result<void> SqliteStore::point_tag(int64_t repository, std::string_view tag, int64_t manifest,
                                    Undo undo) {
  int64_t old = 0;
  if (undo == Undo::kPossible) {
    RUNNEL_TRY(old, target_of(repository, tag));
  }
  if (old != 0 && old != manifest) {
    RUNNEL_TRY(const int64_t id, insert_deletion(Deletion::Kind::kOverwrite, repository, old));
    RUNNEL_DO(writer_->run("INSERT INTO deleted_tags (deletion, name, manifest) VALUES (?, ?, ?)",
                           {id, tag, old}));
  }
  RUNNEL_DO(writer_->run(
      "INSERT INTO tags (repository, name, manifest, updated_at) VALUES (?, ?, ?, ?) "
      "ON CONFLICT DO UPDATE SET manifest = excluded.manifest, updated_at = excluded.updated_at "
      "WHERE manifest <> excluded.manifest",
      {repository, tag, manifest, now()}));
  return {};
}

Result<std::optional<ManifestInfo>> SqliteStore::manifest_info(std::string_view repository,
                                                               const ManifestName& name) {
  RUNNEL_TRY(const auto connection, reader());
  const auto* sql = std::holds_alternative<oci::Digest>(name) ? kInfoByDigest : kInfoByTag;
  RUNNEL_TRY(auto rows, connection->query(sql, {repository, text_of(name)}));
  RUNNEL_TRY(const bool found, rows.next());
  if (!found) return std::nullopt;
  return info_of(rows);
}

Result<std::optional<StoredManifest>> SqliteStore::manifest(std::string_view repository,
                                                            const ManifestName& name) {
  RUNNEL_TRY(const auto connection, reader());
  const auto* sql = std::holds_alternative<oci::Digest>(name) ? kManifestByDigest : kManifestByTag;
  RUNNEL_TRY(auto rows, connection->query(sql, {repository, text_of(name)}));
  RUNNEL_TRY(const bool found, rows.next());
  if (!found) return std::nullopt;
  StoredManifest stored;
  RUNNEL_TRY(stored.info, info_of(rows));
  stored.bytes = rows.text(3);
  return stored;
}

Result<std::vector<ListedManifest>> SqliteStore::manifests(std::string_view repository,
                                                           const oci::Digest& after, size_t limit) {
  RUNNEL_TRY(const auto connection, reader());
  // A query keeps views: this one is into `after`.
  const auto from = after.empty() ? std::string_view() : std::string_view(after.to_string());
  // No tag has a space in it.
  RUNNEL_TRY(
      auto rows,
      connection->query("SELECT m.digest, m.media_type, m.size, "
                        "(SELECT group_concat(t.name, ' ') FROM tags t WHERE t.manifest = m.id) "
                        "FROM repositories r JOIN manifests m ON m.repository = r.id "
                        "WHERE r.name = ? AND m.digest > ? AND m.deletion IS NULL "
                        "ORDER BY m.digest LIMIT ?",
                        {repository, from, static_cast<int64_t>(limit)}));
  std::vector<ListedManifest> found;
  while (true) {
    RUNNEL_TRY(const bool more, rows.next());
    if (!more) return found;
    auto& listed = found.emplace_back();
    RUNNEL_TRY(listed.info, info_of(rows));
    std::string_view tags = rows.text(3);
    while (!tags.empty()) {
      const auto end = std::min(tags.find(' '), tags.size());
      listed.tags.emplace_back(tags.substr(0, end));
      tags.remove_prefix(std::min(end + 1, tags.size()));
    }
  }
}

Result<std::optional<std::vector<std::string>>> SqliteStore::tags(std::string_view repository,
                                                                  std::string_view after,
                                                                  size_t limit) {
  RUNNEL_TRY(const auto connection, reader());
  RUNNEL_TRY(const auto transaction, Transaction::read(*connection));
  int64_t id = 0;
  {
    RUNNEL_TRY(auto rows,
               connection->query("SELECT id FROM repositories WHERE name = ? AND deletion IS NULL",
                                 {repository}));
    RUNNEL_TRY(const bool known, rows.next());
    if (!known) return std::nullopt;
    id = rows.integer(0);
  }
  RUNNEL_TRY(auto rows, connection->query("SELECT name FROM tags WHERE repository = ? "
                                          "AND name > ? ORDER BY name LIMIT ?",
                                          {id, after, static_cast<int64_t>(limit)}));
  std::vector<std::string> found;
  while (true) {
    RUNNEL_TRY(const bool more, rows.next());
    if (!more) return found;
    found.emplace_back(rows.text(0));
  }
}

Result<void> SqliteStore::visit_referrers(std::string_view repository, const oci::Digest& subject,
                                          const ArtifactTypes& types, int64_t before,
                                          const VisitReferrer& visit) {
  RUNNEL_TRY(const auto connection, reader());
  RUNNEL_TRY(auto rows, connection->query("SELECT m.id, m.artifact_type, m.digest, m.descriptor "
                                          "FROM manifests m "
                                          "JOIN repositories r ON r.id = m.repository "
                                          "WHERE r.name = ? AND m.subject = ? AND m.id < ? "
                                          "AND m.deletion IS NULL "
                                          "ORDER BY m.id DESC",
                                          {repository, subject.to_string(), before}));
  while (true) {
    RUNNEL_TRY(const bool more, rows.next());
    if (!more) return {};
    if (!types.empty() && std::ranges::find(types, rows.text(1)) == types.end()) continue;
    RUNNEL_TRY(
        const bool go_on,
        visit({.position = rows.integer(0), .digest = rows.text(2), .descriptor = rows.text(3)}));
    if (!go_on) return {};
  }
}

Result<bool> SqliteStore::is_referrer(std::string_view repository, const oci::Digest& subject,
                                      const oci::Digest& digest) {
  RUNNEL_TRY(const auto connection, reader());
  RUNNEL_TRY(auto rows, connection->query("SELECT 1 FROM manifests m "
                                          "JOIN repositories r ON r.id = m.repository "
                                          "WHERE r.name = ? AND m.digest = ? AND m.subject = ? "
                                          "AND m.deletion IS NULL",
                                          {repository, digest.to_string(), subject.to_string()}));
  return rows.next();
}

Result<bool> SqliteStore::names_blob(std::string_view repository, const oci::Digest& manifest,
                                     const oci::Digest& blob, size_t referrers) {
  RUNNEL_TRY(const auto connection, reader());
  RUNNEL_TRY(auto rows,
             connection->query("SELECT 1 FROM repositories r "
                               "JOIN manifests m ON m.repository = r.id "
                               "WHERE r.name = ?1 AND m.digest = ?2 AND m.deletion IS NULL "
                               "AND (EXISTS (SELECT 1 FROM manifest_references f "
                               "WHERE f.repository = r.id AND f.digest = ?3 "
                               "AND f.manifest = m.id) "
                               "OR EXISTS (SELECT 1 FROM manifest_references f "
                               "WHERE f.repository = r.id AND f.digest = ?3 "
                               "AND f.manifest IN (SELECT a.id FROM manifests a "
                               "WHERE a.repository = r.id AND a.subject = ?2 "
                               "AND a.deletion IS NULL ORDER BY a.id DESC LIMIT ?4)))",
                               {repository, manifest.to_string(), blob.to_string(),
                                static_cast<int64_t>(referrers)}));
  return rows.next();
}

}  // namespace runnel::meta
