// The SQLite driver's documents.
#include "meta/sqlite_reader.h"
#include "meta/sqlite_store.h"

namespace runnel::meta {

namespace {

// What sorts behind all that begin with the prefix, and before all others.
std::string behind(std::string prefix) {
  ++prefix.back();
  return prefix;
}

Document document_of(const Query& row) {
  return {.name = std::string(row.text(0)),
          .body = std::string(row.text(1)),
          .version = row.integer(2)};
}

}  // namespace

Result<std::optional<Document>> SqliteStore::document(std::string_view kind,
                                                      std::string_view name) {
  RUNNEL_TRY(const auto connection, reader());
  RUNNEL_TRY(auto rows, connection->query("SELECT name, body, version FROM documents "
                                          "WHERE kind = ? AND name = ?",
                                          {kind, name}));
  RUNNEL_TRY(const bool found, rows.next());
  if (!found) return std::nullopt;
  return document_of(rows);
}

Result<std::vector<Document>> SqliteStore::documents(std::string_view kind, std::string_view after,
                                                     size_t limit) {
  RUNNEL_TRY(const auto connection, reader());
  RUNNEL_TRY(auto rows, connection->query("SELECT name, body, version FROM documents "
                                          "WHERE kind = ? AND name > ? ORDER BY name LIMIT ?",
                                          {kind, after, static_cast<int64_t>(limit)}));
  std::vector<Document> found;
  while (true) {
    RUNNEL_TRY(const bool more, rows.next());
    if (!more) return found;
    found.push_back(document_of(rows));
  }
}

Result<int64_t> SqliteStore::put_document(std::string_view kind, std::string_view name,
                                          std::string_view body, int64_t version) {
  const std::lock_guard lock(writing_);
  RUNNEL_TRY(auto transaction, Transaction::write(*writer_));
  RUNNEL_TRY(const int64_t replaced,
             writer_->run("DELETE FROM documents WHERE kind = ? AND name = ? AND version = ?",
                          {kind, name, version}));
  RUNNEL_TRY(const int64_t made,
             writer_->run("INSERT INTO documents (kind, name, body) VALUES (?, ?, ?) "
                          "ON CONFLICT DO NOTHING",
                          {kind, name, body}));
  if (made == 0 || (version != 0 && replaced == 0))
    return fail(Code::kConflict, "{} {} was changed meanwhile: read it again", kind, name);
  const auto now_version = writer_->last_id();
  RUNNEL_DO(transaction.commit());
  return now_version;
}

Result<int64_t> SqliteStore::remove_document(const DocumentName& document) {
  return writer_->run("DELETE FROM documents WHERE kind = ? AND name = ?",
                      {document.kind, document.name});
}

Result<int64_t> SqliteStore::remove_documents(const std::vector<DocumentPattern>& all) {
  int64_t removed = 0;
  for (const auto& [kind, prefix, suffix] : all) {
    RUNNEL_TRY(const int64_t count,
               writer_->run("DELETE FROM documents WHERE kind = ?1 AND name >= ?2 AND name < ?3 "
                            "AND (?4 = '' OR (length(name) >= length(?2) + length(?4) "
                            "AND substr(name, -length(?4)) = ?4))",
                            {kind, prefix, behind(prefix), suffix}));
    removed += count;
  }
  return removed;
}

Result<void> SqliteStore::insert_documents(const std::vector<NewDocument>& all) {
  for (const auto& [kind, name, body] : all)
    RUNNEL_DO(writer_->run("INSERT OR REPLACE INTO documents (kind, name, body) VALUES (?, ?, ?)",
                           {kind, name, body}));
  return {};
}

Result<bool> SqliteStore::delete_document(std::string_view kind, std::string_view name) {
  const std::lock_guard lock(writing_);
  RUNNEL_TRY(const int64_t removed,
             writer_->run("DELETE FROM documents WHERE kind = ? AND name = ?", {kind, name}));
  return removed != 0;
}

}  // namespace runnel::meta
