// The SQLite driver's part of collection: which links and blobs nothing needs any more.
//
// Nothing here looks at more than what changed: `review` marks links that were made or lost a
// manifest, and a trigger notes the blobs of links that went.
#include "meta/sqlite_reader.h"
#include "meta/sqlite_store.h"
#include "meta/stored_digest.h"
#include "meta/stored_time.h"

namespace runnel::meta {

namespace {

constexpr const char* kAnyLinkOf = "SELECT 1 FROM blob_links WHERE digest = ? LIMIT 1";
constexpr const char* kToReview =
    "SELECT repository, digest FROM blob_links WHERE review = 1 AND linked_at < ? "
    "ORDER BY linked_at LIMIT ?";
// A deleted manifest counts like any other, and so does whatever it names a blob as.
constexpr const char* kUnlinkUnreferenced =
    "DELETE FROM blob_links AS l WHERE l.repository = ?1 AND l.digest = ?2 AND l.linked_at < ?3 "
    "AND NOT EXISTS (SELECT 1 FROM manifest_references f WHERE f.repository = l.repository "
    "AND f.digest = l.digest)";
constexpr const char* kReviewed =
    "UPDATE blob_links SET review = 0 WHERE repository = ?1 AND digest = ?2 AND linked_at < ?3";

}  // namespace

// Looks for them without keeping writers out; what it finds is asked again within the transaction.
Result<Reviewed> SqliteStore::unlink_unreferenced(WallTime before, size_t limit) {
  const int64_t time = to_milliseconds(before);
  std::vector<std::pair<int64_t, std::string>> found;
  {
    RUNNEL_TRY(const auto connection, reader());
    RUNNEL_TRY(auto rows, connection->query(kToReview, {time, static_cast<int64_t>(limit)}));
    while (true) {
      RUNNEL_TRY(const bool more, rows.next());
      if (!more) break;
      found.emplace_back(rows.integer(0), rows.text(1));
    }
  }
  Reviewed reviewed{found.size(), 0};
  if (found.empty()) return reviewed;
  const std::lock_guard lock(writing_);
  RUNNEL_TRY(auto transaction, Transaction::write(*writer_));
  for (const auto& [repository, digest] : found) {
    RUNNEL_TRY(const int64_t gone, writer_->run(kUnlinkUnreferenced, {repository, digest, time}));
    reviewed.unlinked += static_cast<size_t>(gone);
    if (gone == 0) RUNNEL_DO(writer_->run(kReviewed, {repository, digest, time}));
  }
  RUNNEL_DO(transaction.commit());
  return reviewed;
}

Result<std::vector<oci::Digest>> SqliteStore::unlinked_blobs(const oci::Digest& after,
                                                             size_t limit) {
  RUNNEL_TRY(const auto connection, reader());
  RUNNEL_TRY(auto rows, connection->query("SELECT digest FROM unlinked_blobs WHERE digest > ? "
                                          "ORDER BY digest LIMIT ?",
                                          {after.to_string(), static_cast<int64_t>(limit)}));
  std::vector<oci::Digest> found;
  while (true) {
    RUNNEL_TRY(const bool more, rows.next());
    if (!more) return found;
    RUNNEL_TRY(auto digest, stored_digest(rows.text(0)));
    found.push_back(std::move(digest));
  }
}

Result<bool> SqliteStore::is_linked(const oci::Digest& digest) {
  RUNNEL_TRY(const auto connection, reader());
  RUNNEL_TRY(auto rows, connection->query(kAnyLinkOf, {digest.to_string()}));
  return rows.next();
}

Result<bool> SqliteStore::is_linked_for_writer(const oci::Digest& digest) {
  RUNNEL_TRY(auto rows, writer_->query(kAnyLinkOf, {digest.to_string()}));
  return rows.next();
}

Result<bool> SqliteStore::remove_if_unlinked(const oci::Digest& digest,
                                             const std::function<Result<void>()>& remove) {
  const std::lock_guard lock(writing_);
  RUNNEL_TRY(auto transaction, Transaction::write(*writer_));
  RUNNEL_TRY(const bool linked, is_linked_for_writer(digest));
  if (!linked) RUNNEL_DO(remove());
  RUNNEL_DO(writer_->run("DELETE FROM unlinked_blobs WHERE digest = ?", {digest.to_string()}));
  RUNNEL_DO(transaction.commit());
  return !linked;
}

}  // namespace runnel::meta
