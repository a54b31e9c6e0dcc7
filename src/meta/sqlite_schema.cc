#include "meta/sqlite_schema.h"

#include <algorithm>
#include <iterator>

namespace runnel::meta {

namespace {

// "RUNL": tells our files from other SQLite databases.
constexpr int64_t kApplicationId = 0x52554e4c;

// Times are milliseconds since 1970. A reference names its target by digest, not by row, because
// the target may be absent (a sparse index) and may come later.
constexpr const char* kSchema = R"sql(
CREATE TABLE repositories (
  id          INTEGER PRIMARY KEY,
  name        TEXT NOT NULL UNIQUE,
  created_at  INTEGER NOT NULL
);
CREATE TABLE blob_links (
  repository  INTEGER NOT NULL REFERENCES repositories ON DELETE CASCADE,
  digest      TEXT NOT NULL,
  size        INTEGER NOT NULL,
  linked_at   INTEGER NOT NULL,
  PRIMARY KEY (repository, digest)
) WITHOUT ROWID;
CREATE INDEX blob_links_by_digest ON blob_links (digest);
-- AUTOINCREMENT: the id is a referrer's position, and must not be used again while someone pages.
CREATE TABLE manifests (
  id            INTEGER PRIMARY KEY AUTOINCREMENT,
  repository    INTEGER NOT NULL REFERENCES repositories ON DELETE CASCADE,
  digest        TEXT NOT NULL,
  media_type    TEXT NOT NULL,
  size          INTEGER NOT NULL,
  pushed_at     INTEGER NOT NULL,
  subject       TEXT,
  artifact_type TEXT NOT NULL,
  descriptor    TEXT NOT NULL,
  bytes         BLOB NOT NULL,
  UNIQUE (repository, digest)
);
CREATE INDEX manifests_by_subject ON manifests (repository, subject, id) WHERE subject IS NOT NULL;
-- kind 0: a blob that must be here (configuration, layer); kind 1: what else it names (a manifest
-- or blob of an index, a layer that may lie elsewhere). Blobs are kept for either.
CREATE TABLE manifest_references (
  digest      TEXT NOT NULL,
  manifest    INTEGER NOT NULL REFERENCES manifests ON DELETE CASCADE,
  kind        INTEGER NOT NULL,
  PRIMARY KEY (digest, manifest, kind)
) WITHOUT ROWID;
CREATE INDEX manifest_references_by_manifest ON manifest_references (manifest);
CREATE TABLE tags (
  repository  INTEGER NOT NULL REFERENCES repositories ON DELETE CASCADE,
  name        TEXT NOT NULL,
  manifest    INTEGER NOT NULL REFERENCES manifests ON DELETE CASCADE,
  updated_at  INTEGER NOT NULL,
  PRIMARY KEY (repository, name)
) WITHOUT ROWID;
CREATE INDEX tags_by_manifest ON tags (manifest);
-- By the repository's name: an upload does not make a repository.
CREATE TABLE uploads (
  id          TEXT PRIMARY KEY,
  repository  TEXT NOT NULL,
  received    INTEGER NOT NULL,
  expires_at  INTEGER NOT NULL
) WITHOUT ROWID;
CREATE INDEX uploads_by_expiry ON uploads (expires_at);
PRAGMA application_id = 0x52554e4c;
PRAGMA user_version = 1;
)sql";

// What each version after the first one adds; the last one is what this program knows.
constexpr const char* kSteps[] = {
    // 2: uploads belong to who began them; configuration that is made at run time
    R"sql(
ALTER TABLE uploads ADD COLUMN owner TEXT NOT NULL DEFAULT '';
-- AUTOINCREMENT on the side: a version is never used again, not even after a deletion.
CREATE TABLE documents (
  version     INTEGER PRIMARY KEY AUTOINCREMENT,
  kind        TEXT NOT NULL,
  name        TEXT NOT NULL,
  body        TEXT NOT NULL,
  UNIQUE (kind, name)
);
PRAGMA user_version = 2;
)sql",
    // 3: deletions that can be undone; collection that looks only at what changed
    R"sql(
-- kind: 0 a manifest, 1 a tag, 2 what a tag pointed to before it was pushed again, 3 a repository.
CREATE TABLE deletions (
  id          INTEGER PRIMARY KEY AUTOINCREMENT,
  kind        INTEGER NOT NULL,
  repository  INTEGER NOT NULL REFERENCES repositories ON DELETE CASCADE,
  manifest    INTEGER REFERENCES manifests ON DELETE CASCADE,
  deleted_at  INTEGER NOT NULL
);
CREATE INDEX deletions_by_repository ON deletions (repository);
CREATE INDEX deletions_by_manifest ON deletions (manifest);
CREATE INDEX deletions_by_time ON deletions (deleted_at);
CREATE TABLE deleted_tags (
  deletion    INTEGER NOT NULL REFERENCES deletions ON DELETE CASCADE,
  name        TEXT NOT NULL,
  manifest    INTEGER NOT NULL REFERENCES manifests ON DELETE CASCADE,
  PRIMARY KEY (deletion, name)
) WITHOUT ROWID;
CREATE INDEX deleted_tags_by_manifest ON deleted_tags (manifest);
-- The deletion that took it away; NULL: it is there.
ALTER TABLE repositories ADD COLUMN deletion INTEGER;
ALTER TABLE manifests ADD COLUMN deletion INTEGER;
CREATE INDEX repositories_by_deletion ON repositories (deletion) WHERE deletion IS NOT NULL;
CREATE INDEX manifests_by_deletion ON manifests (deletion) WHERE deletion IS NOT NULL;
-- hidden: the repository no longer shows the blob, only a deleted manifest needs it.
-- review: perhaps no manifest needs it; the collector finds out.
ALTER TABLE blob_links ADD COLUMN hidden INTEGER NOT NULL DEFAULT 0;
ALTER TABLE blob_links ADD COLUMN review INTEGER NOT NULL DEFAULT 1;
CREATE INDEX blob_links_to_review ON blob_links (linked_at) WHERE review = 1;
-- Blobs of which a link went: perhaps it was the last one.
CREATE TABLE unlinked_blobs (digest TEXT PRIMARY KEY) WITHOUT ROWID;
CREATE TRIGGER blob_link_goes AFTER DELETE ON blob_links
  BEGIN INSERT OR IGNORE INTO unlinked_blobs VALUES (old.digest); END;
PRAGMA user_version = 3;
)sql",
    // 4: the queue of conversions. status: 0 NotStarted, 1 Running, 2 Succeeded, 3 Failed,
    // 4 Canceled; by the repository's name, since what was asked for outlives the repository
    R"sql(
CREATE TABLE operations (
  position      INTEGER PRIMARY KEY AUTOINCREMENT,
  id            TEXT NOT NULL UNIQUE,
  repository    TEXT NOT NULL,
  digest        TEXT NOT NULL,
  status        INTEGER NOT NULL,
  priority      INTEGER NOT NULL,
  principal     TEXT NOT NULL,
  created_at    INTEGER NOT NULL,
  started_at    INTEGER NOT NULL DEFAULT 0,
  ended_at      INTEGER NOT NULL DEFAULT 0,
  percent       INTEGER NOT NULL DEFAULT 0,
  attempts      INTEGER NOT NULL DEFAULT 0,
  code          TEXT NOT NULL DEFAULT '',
  message       TEXT NOT NULL DEFAULT '',
  owner         TEXT NOT NULL DEFAULT '',
  claimed_until INTEGER NOT NULL DEFAULT 0,
  publishing    INTEGER NOT NULL DEFAULT 0
);
CREATE UNIQUE INDEX operations_ongoing ON operations (repository, digest) WHERE status < 2;
CREATE INDEX operations_to_claim ON operations (priority DESC, position) WHERE status < 2;
CREATE INDEX operations_by_image ON operations (repository, digest, position);
CREATE INDEX operations_by_repository ON operations (repository, position);
CREATE INDEX operations_by_status ON operations (status, position);
CREATE INDEX operations_by_end ON operations (ended_at) WHERE status >= 2;
PRAGMA user_version = 4;
)sql",
    // 5: references are found by their repository: a blob such as "{}" is in nearly all of them
    R"sql(
CREATE TABLE new_references (
  repository  INTEGER NOT NULL,
  digest      TEXT NOT NULL,
  kind        INTEGER NOT NULL,
  manifest    INTEGER NOT NULL REFERENCES manifests ON DELETE CASCADE,
  PRIMARY KEY (repository, digest, kind, manifest)
) WITHOUT ROWID;
INSERT INTO new_references SELECT m.repository, f.digest, f.kind, f.manifest
  FROM manifest_references f JOIN manifests m ON m.id = f.manifest;
DROP TABLE manifest_references;
ALTER TABLE new_references RENAME TO manifest_references;
CREATE INDEX manifest_references_by_manifest ON manifest_references (manifest);
PRAGMA user_version = 5;
)sql",
    // 6: a page of referrers is read from their index alone, where they lie side by side
    R"sql(
DROP INDEX manifests_by_subject;
CREATE INDEX manifests_by_subject ON manifests
  (repository, subject, id, deletion, artifact_type, digest, descriptor) WHERE subject IS NOT NULL;
PRAGMA user_version = 6;
)sql",
    // 7: deletions are forgotten piece by piece; one of which that has begun cannot be undone
    R"sql(
ALTER TABLE deletions ADD COLUMN forgotten INTEGER NOT NULL DEFAULT 0;
CREATE INDEX deletions_forgotten ON deletions (forgotten, id) WHERE forgotten = 1;
PRAGMA user_version = 7;
)sql",
    // 8: layers that may lie elsewhere are named, too. Those of manifests that were pushed before
    // are read out of their bytes; what is no JSON (any more) names nothing
    R"sql(
INSERT OR IGNORE INTO manifest_references (repository, digest, kind, manifest)
  SELECT n.repository, n.digest, 1, n.manifest FROM (
    SELECT m.repository AS repository, m.id AS manifest,
        CASE WHEN l.type = 'object' THEN json_extract(l.value, '$.digest') END AS digest
      FROM manifests m, json_each(CASE WHEN json_valid(CAST(m.bytes AS TEXT))
        THEN CAST(m.bytes AS TEXT) ELSE '{}' END, '$.layers') l) n
  WHERE typeof(n.digest) = 'text' AND NOT EXISTS (SELECT 1 FROM manifest_references f
    WHERE f.repository = n.repository AND f.digest = n.digest AND f.manifest = n.manifest);
PRAGMA user_version = 8;
)sql",
};
constexpr int64_t kVersion = 1 + std::size(kSteps);

Result<int64_t> pragma(Connection& connection, const char* sql) {
  RUNNEL_TRY(auto rows, connection.query(sql));
  RUNNEL_TRY(const bool has_row, rows.next());
  return has_row ? rows.integer(0) : 0;
}

}  // namespace

Result<void> prepare_schema(Connection& connection) {
  // In one transaction, so that of two processes that start together one makes the tables and the
  // other one finds them.
  RUNNEL_TRY(auto transaction, Transaction::write(connection));
  RUNNEL_TRY(const int64_t application, pragma(connection, "PRAGMA application_id"));
  RUNNEL_TRY(const int64_t version, pragma(connection, "PRAGMA user_version"));
  RUNNEL_TRY(const int64_t tables, pragma(connection, "SELECT count(*) FROM sqlite_master"));
  const bool is_new = application == 0 && version == 0 && tables == 0;
  if (!is_new && application != kApplicationId)
    return fail(Code::kConflict,
                "metadata: this SQLite file was not made by runnel: choose another data directory");
  if (version > kVersion)
    return fail(Code::kUnsupported,
                "metadata: written by a newer runnel (schema {}, this program knows {}): run the "
                "newer program, or restore a backup made before the upgrade",
                version, kVersion);
  if (version == kVersion) return {};
  if (is_new) RUNNEL_DO(connection.script(kSchema));
  for (auto step = std::max<int64_t>(version, 1); step < kVersion; ++step)
    RUNNEL_DO(connection.script(kSteps[step - 1]));
  return transaction.commit();
}

}  // namespace runnel::meta
