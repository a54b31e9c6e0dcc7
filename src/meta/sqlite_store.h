// Metadata in one SQLite file.
//
// WAL with synchronous=FULL: readers never wait for a writer, and a commit is on the disk when it
// returns. Writers of one process queue up at a mutex, those of several processes at SQLite's lock.
#pragma once

#include <memory>
#include <mutex>
#include <string>
#include <vector>

#include "meta/metadata_store.h"
#include "meta/sqlite.h"
#include "meta/survey.h"

namespace runnel::meta {

class SqliteStore final : public MetadataStore {
 public:
  // Opens or makes the file at `path`. The clock must outlive the store. kUnsupported when a newer
  // program wrote the file.
  static Result<std::unique_ptr<SqliteStore>> open(const std::string& path, const Clock& clock);

  // On a connection of its own.
  Result<std::unique_ptr<ChangeWatch>> watch_changes() override;
  // Readers of a WAL wait for no writer.
  bool looks_up_at_once() const override { return true; }
  Result<bool> repository_exists(std::string_view name) override;
  Result<std::vector<std::string>> repositories(std::string_view after, size_t limit) override;

  Result<std::optional<uint64_t>> blob_size(std::string_view repository,
                                            const oci::Digest& digest) override;
  Result<std::optional<uint64_t>> lease_blob(std::string_view repository, const oci::Digest& digest,
                                             Duration renew_after) override;
  Result<void> link_blob(std::string_view repository, const oci::Digest& digest,
                         uint64_t size) override;
  Result<bool> mount_blob(std::string_view from, std::string_view to,
                          const oci::Digest& digest) override;
  Result<std::vector<std::string>> repositories_with_blob(const oci::Digest& digest,
                                                          size_t limit) override;
  Result<UnlinkOutcome> unlink_blob(std::string_view repository,
                                    const oci::Digest& digest) override;

  Result<Reviewed> unlink_unreferenced(WallTime before, size_t limit) override;
  Result<std::vector<oci::Digest>> unlinked_blobs(const oci::Digest& after, size_t limit) override;
  Result<bool> is_linked(const oci::Digest& digest) override;
  Result<bool> remove_if_unlinked(const oci::Digest& digest,
                                  const std::function<Result<void>()>& remove) override;

  // Calls `work` while nobody can link or unlink a blob: briefly.
  Result<void> keep_links(const std::function<Result<void>()>& work);
  // Every blob that has a link, hidden ones too: in the order of the digests' text, after `after`.
  Result<std::vector<LinkedBlob>> linked_blobs(const oci::Digest& after, size_t limit);
  // Every manifest, deleted ones too, after the position (0 for the first page).
  Result<std::vector<PlacedManifest>> all_manifests(int64_t after, size_t limit);
  // Makes every link of the blob, hidden ones too, say this size. How many said another one.
  Result<size_t> set_link_sizes(const oci::Digest& digest, uint64_t size);
  // Removes a manifest for good, deleted or not, with its tags and not with its artifacts, unless
  // its bytes are others by now. False when they are, or it is gone.
  Result<bool> remove_if_unchanged(const PlacedManifest& placed);
  // What in the database does not fit together, in words. Reads all of it.
  Result<std::vector<std::string>> find_damage();
  Result<Usage> usage();
  // Writes one state of the database to a new file at `path`, durably. Others read and write
  // meanwhile.
  Result<void> copy_to(const std::string& path);

  Result<PutManifestOutcome> put_manifest(std::string_view repository,
                                          const NewManifest& manifest) override;
  Result<bool> point_waiting_tag(const WaitingTag& waiting) override;
  Result<std::optional<ManifestInfo>> manifest_info(std::string_view repository,
                                                    const ManifestName& name) override;
  Result<std::optional<StoredManifest>> manifest(std::string_view repository,
                                                 const ManifestName& name) override;
  using MetadataStore::delete_manifest;
  Result<bool> delete_manifest(std::string_view repository, const oci::Digest& digest, Undo undo,
                               const std::vector<DocumentPattern>& waiting) override;
  Result<std::vector<std::string>> taken_with(std::string_view repository,
                                              const oci::Digest& digest) override;
  Result<bool> delete_tag(std::string_view repository, std::string_view tag, Undo undo,
                          const std::vector<DocumentPattern>& waiting) override;
  using MetadataStore::delete_repository;
  Result<bool> delete_repository(std::string_view name, Undo undo,
                                 const std::vector<DocumentPattern>& waiting) override;
  Result<std::vector<Deletion>> deletions(std::string_view repository, int64_t before,
                                          size_t limit) override;
  Result<std::optional<Deletion>> deletion(int64_t id) override;
  using MetadataStore::restore;
  Result<std::optional<Restored>> restore(int64_t id, const std::optional<TagMove>& move) override;
  Result<bool> forget(int64_t id) override;
  Result<Forgotten> forget_deletions(WallTime before, size_t limit) override;
  Result<std::vector<ListedManifest>> manifests(std::string_view repository,
                                                const oci::Digest& after, size_t limit) override;
  Result<std::optional<std::vector<std::string>>> tags(std::string_view repository,
                                                       std::string_view after,
                                                       size_t limit) override;

  Result<void> visit_referrers(std::string_view repository, const oci::Digest& subject,
                               const ArtifactTypes& types, int64_t before,
                               const VisitReferrer& visit) override;
  Result<bool> is_referrer(std::string_view repository, const oci::Digest& subject,
                           const oci::Digest& digest) override;
  Result<bool> names_blob(std::string_view repository, const oci::Digest& manifest,
                          const oci::Digest& blob, size_t referrers) override;

  Result<void> create_upload(const Upload& upload) override;
  Result<std::optional<Upload>> upload(std::string_view repository, std::string_view id) override;
  Result<void> record_received(std::string_view repository, std::string_view id, uint64_t received,
                               WallTime expires) override;
  Result<void> finish_upload(std::string_view repository, std::string_view id,
                             const oci::Digest& digest, uint64_t size,
                             const std::function<Result<bool>()>& is_stored) override;
  Result<bool> delete_upload(std::string_view repository, std::string_view id) override;
  Result<bool> upload_exists(std::string_view id) override;
  Result<std::vector<Upload>> expired_uploads(WallTime now, size_t limit) override;

  Result<std::optional<Document>> document(std::string_view kind, std::string_view name) override;
  Result<std::vector<Document>> documents(std::string_view kind, std::string_view after,
                                          size_t limit) override;
  Result<int64_t> put_document(std::string_view kind, std::string_view name, std::string_view body,
                               int64_t version) override;
  Result<bool> delete_document(std::string_view kind, std::string_view name) override;

 private:
  // A reading connection, for as long as this lives; then the next one may have it.
  class Reader;

  SqliteStore(std::string path, const Clock& clock) : path_(std::move(path)), clock_(clock) {}

  Result<Reader> reader();
  int64_t now() const;
  // Within a write transaction: the repository's row, made if it is new.
  Result<int64_t> make_repository(std::string_view name);
  Result<bool> is_linked_for_writer(const oci::Digest& digest);
  Result<void> insert_link(std::string_view repository, const oci::Digest& digest, uint64_t size);
  Result<std::vector<oci::Digest>> missing_blobs(std::string_view repository,
                                                 const NewManifest& manifest);
  Result<int64_t> insert_manifest(int64_t repository, const NewManifest& manifest);
  // The manifest's row, and whether it was made or brought back now.
  Result<std::pair<int64_t, bool>> have_manifest(int64_t repository, const NewManifest& manifest);
  // Within a write transaction. How many there were: one or none.
  Result<int64_t> remove_document(const DocumentName& document);
  // Within a write transaction. How many there were.
  Result<int64_t> remove_documents(const std::vector<DocumentPattern>& all);
  Result<void> insert_documents(const std::vector<NewDocument>& all);
  Result<void> point_tag(int64_t repository, std::string_view tag, int64_t manifest, Undo undo);
  // The repository's row if it is there.
  Result<std::optional<int64_t>> live_repository(std::string_view name);
  Result<int64_t> insert_deletion(Deletion::Kind kind, int64_t repository, SqlValue manifest);
  // The manifest's row that the tag points to; 0 when there is no such tag.
  Result<int64_t> target_of(int64_t repository, std::string_view tag);
  // The deletion of a repository, marked as forgotten with kNever; empty when there is none.
  Result<std::optional<int64_t>> take_repository(std::string_view name, Undo undo,
                                                 const std::vector<DocumentPattern>& waiting);
  // What the deletion took: its manifests' tags go with them.
  Result<void> take_tags(int64_t deletion);
  // Within a write transaction, in which it changes nothing else: what the deletion is of goes, all
  // of it, or at most `room` rows, which it takes off that. Whether nothing is left; what is left
  // cannot come back.
  Result<void> forget_within(int64_t deletion);
  Result<bool> forget_some(int64_t deletion, int64_t& room);
  Result<int64_t> forget_tags(int64_t deletion, int64_t room);
  Result<int64_t> forget_manifests(int64_t deletion, int64_t room);
  Result<int64_t> forget_links(int64_t deletion, int64_t room);
  Result<void> forget_repository(int64_t deletion);
  Result<void> mark_forgotten(int64_t deletion);
  // The next one to forget; 0: none.
  Result<int64_t> next_to_forget(WallTime before);
  // Without a transaction: of one that is marked, in several. What fails, and what would take long,
  // is left to forget_deletions().
  void forget_marked(int64_t deletion);
  Result<bool> forget_step(int64_t deletion);
  Result<void> revive_manifest(int64_t manifest);
  Result<size_t> revive_all(int64_t deletion);
  Result<void> restore_tags(int64_t deletion, bool replace, Restored& restored);
  Result<void> check_unmoved(int64_t repository, const TagMove& move);

  const std::string path_;
  const Clock& clock_;

  std::mutex writing_;  // guards the next two
  std::unique_ptr<Connection> writer_;
  std::unique_ptr<Connection> relaxed_writer_;  // for what a power loss may undo

  std::mutex readers_mutex_;
  std::vector<std::unique_ptr<Connection>> idle_readers_;
};

}  // namespace runnel::meta
