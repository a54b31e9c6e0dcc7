// meta/ keeps what a registry knows: repositories, which blobs they have, their manifests (as the
// bytes that were pushed), tags, referrers, and the uploads that are under way.
//
// It holds the interfaces MetadataStore and OperationQueue (operation_queue.h) and their drivers:
// SQLite (sqlite_store.h, sqlite_operations.h); PostgreSQL will be another. It does not hold: the
// blobs' bytes (blob/), the HTTP of it (registry/), who may do what. Every driver passes the suite
// in tests/support/metadata_store_conformance.h.
//
// Every call is one transaction: it happened whole and survives power loss, or it did not happen.
// Only what is forgotten, which nobody can see, goes in several, so that no writer waits for long.
// Several processes may use one store at the same time, so nothing of this is kept in memory,
// unless a ChangeWatch says each time that it still holds. A MetadataStore may be called from any
// thread; calls may take 50 ms, so make them from a pool thread, not from an event loop, unless the
// driver says that it looks up at once.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include "base/bytes.h"
#include "base/clock.h"
#include "base/error.h"
#include "meta/deletion.h"
#include "oci/descriptor.h"
#include "oci/digest.h"

namespace runnel::meta {

// A manifest of a repository: by its digest, or by a tag.
using ManifestName = std::variant<oci::Digest, std::string>;

struct ManifestInfo {
  oci::Digest digest;
  std::string media_type;
  uint64_t size = 0;

  bool operator==(const ManifestInfo&) const = default;
};

// With the tags that point to it, in no order.
struct ListedManifest {
  ManifestInfo info;
  std::vector<std::string> tags;

  bool operator==(const ListedManifest&) const = default;
};

struct StoredManifest {
  ManifestInfo info;
  std::string bytes;
};

struct DocumentName {
  std::string kind;
  std::string name;

  bool operator==(const DocumentName&) const = default;
};

// All documents of a kind whose names begin with the prefix, which is not empty, and end with the
// suffix behind that.
struct DocumentPattern {
  std::string kind;
  std::string prefix;
  std::string suffix = {};

  bool operator==(const DocumentPattern&) const = default;
};

struct NewDocument {
  std::string kind;
  std::string name;
  std::string body;
};

struct NewManifest {
  oci::Digest digest;
  std::string media_type;
  Bytes bytes;
  std::vector<oci::Digest> blobs;  // that it needs: its configuration and layers
  // What else it names, which need not be here: the manifests of an index (some of which are blobs:
  // build caches), layers that may lie elsewhere. Those that are blobs here are kept for it like
  // `blobs`.
  std::vector<oci::Digest> named;
  bool blobs_required = true;  // refuse it when the repository lacks one of `blobs`
  std::optional<oci::Digest> subject;
  oci::Descriptor descriptor;  // what the subject's referrers list says of it
  std::vector<std::string> tags;
  Undo undo = Undo::kNever;  // of what a tag pointed to that now points here
  // Documents that are deleted with it, if there are any, and then such as are made, or made anew.
  std::vector<DocumentPattern> replaces;
  std::vector<NewDocument> documents;
};

// A tag that is to point to a manifest later. A document stands for it until then.
struct WaitingTag {
  DocumentName document;
  std::string repository;
  std::string tag;
  oci::Digest digest;
  Undo undo = Undo::kNever;  // of what the tag points to until then
};

// A tag that is to point to what comes back.
struct TagMove {
  std::string tag;
  // What it pointed to when somebody looked; empty: there was no such tag.
  std::optional<oci::Digest> from;
  // What stands for tags that wait for it (WaitingTag) and are not to come any more.
  std::vector<DocumentPattern> waiting;
};

struct PutManifestOutcome {
  // The blobs that were required and are not there. When there are any, nothing was changed.
  std::vector<oci::Digest> missing;
  bool created = false;  // false: the repository had this manifest, and only tags changed, if any
};

struct Referrer {
  int64_t position = 0;  // where the next page starts
  oci::Digest digest;
  std::string descriptor;  // what NewManifest said of it, as oci::to_json() writes it
};

// The same while it is visited: views that hold for the call.
struct VisitedReferrer {
  int64_t position = 0;
  std::string_view digest;
  std::string_view descriptor;
};

// False ends the visit. May read from the store; must not change it.
using VisitReferrer = std::function<Result<bool>(const VisitedReferrer&)>;

// A referrer of one of these types; of any type when empty.
using ArtifactTypes = std::vector<std::string>;

// An upload that is under way. Its bytes are in the blob store under the same id.
struct Upload {
  std::string id;
  std::string repository;
  std::string owner;      // who began it; nobody else may go on with it
  uint64_t received = 0;  // bytes that were acknowledged
  WallTime expires;

  bool operator==(const Upload&) const = default;
};

enum class UnlinkOutcome : uint8_t {
  kRemoved,
  kAbsent,
  kReferenced,  // a manifest of the repository names the blob; nothing was changed
};

struct Reviewed {
  size_t links = 0;     // that were looked at
  size_t unlinked = 0;  // of them

  bool operator==(const Reviewed&) const = default;
};

// What somebody configured, as the caller wrote it: a scope map, a token, attributes.
struct Document {
  std::string name;
  std::string body;
  int64_t version = 0;  // another one after every change

  bool operator==(const Document&) const = default;
};

// Tells whether anything in a store has changed. Used by one thread at a time.
class ChangeWatch {
 public:
  virtual ~ChangeWatch() = default;
  // Another number after every commit, whichever process made it: what was looked up since one call
  // still holds when the next one returns the same. Only numbers of one watch can be compared.
  virtual Result<uint64_t> version() = 0;
};

class MetadataStore {
 public:
  virtual ~MetadataStore() = default;

  // Null when the store cannot tell for less than a look-up costs. The store must outlive it.
  virtual Result<std::unique_ptr<ChangeWatch>> watch_changes() { return nullptr; }

  // Whether blob_size(), manifest(), manifest_info() and documents() cost microseconds and wait for
  // nothing but a local disk, as sendfile(2) does: an event loop may then call them itself.
  virtual bool looks_up_at_once() const { return false; }

  // A repository begins with its first blob or manifest.
  virtual Result<bool> repository_exists(std::string_view name) = 0;
  // In the order of their bytes, those after `after`; at most `limit`.
  virtual Result<std::vector<std::string>> repositories(std::string_view after, size_t limit) = 0;

  // The size of a blob that this repository has; empty when it does not have it, whoever else does.
  virtual Result<std::optional<uint64_t>> blob_size(std::string_view repository,
                                                    const oci::Digest& digest) = 0;
  // The same for a client that asks because it may leave the blob's push out: the blob is then safe
  // from unlink_unreferenced for a time. The link is renewed when it is older than `renew_after`.
  virtual Result<std::optional<uint64_t>> lease_blob(std::string_view repository,
                                                     const oci::Digest& digest,
                                                     Duration renew_after) = 0;
  virtual Result<void> link_blob(std::string_view repository, const oci::Digest& digest,
                                 uint64_t size) = 0;
  // False when `from` does not have the blob.
  virtual Result<bool> mount_blob(std::string_view from, std::string_view to,
                                  const oci::Digest& digest) = 0;
  // Who has the blob, at most `limit` of them: where a mount without a source may look.
  virtual Result<std::vector<std::string>> repositories_with_blob(const oci::Digest& digest,
                                                                  size_t limit) = 0;
  virtual Result<UnlinkOutcome> unlink_blob(std::string_view repository,
                                            const oci::Digest& digest) = 0;

  // Unlinks blobs that no manifest of their repository names, not even a deleted one that can come
  // back, and whose links were made or renewed before `before`. Looks at no more than `limit` links
  // of those that were made, or lost a manifest, since they were looked at last.
  virtual Result<Reviewed> unlink_unreferenced(WallTime before, size_t limit) = 0;
  // Blobs of which a link went since remove_if_unlinked() was called for them. In the order of
  // their digests' text, those after `after` (or from the beginning, when that is empty).
  virtual Result<std::vector<oci::Digest>> unlinked_blobs(const oci::Digest& after,
                                                          size_t limit) = 0;
  virtual Result<bool> is_linked(const oci::Digest& digest) = 0;
  // Calls `remove` if no repository has the blob, while nobody can link it: who links it later
  // finds out that it is gone. False when somebody has it.
  virtual Result<bool> remove_if_unlinked(const oci::Digest& digest,
                                          const std::function<Result<void>()>& remove) = 0;

  // Stores it if it is new, points the tags to it, and changes its documents. One that was deleted
  // and not yet forgotten comes back, with its streaming artifacts; one whose stored bytes are
  // others gets these.
  virtual Result<PutManifestOutcome> put_manifest(std::string_view repository,
                                                  const NewManifest& manifest) = 0;
  // Deletes the document, and points the tag if the document was there and the manifest is: whoever
  // deleted one of the two wanted something else. Whether the tag points to it now.
  virtual Result<bool> point_waiting_tag(const WaitingTag& waiting) = 0;
  virtual Result<std::optional<ManifestInfo>> manifest_info(std::string_view repository,
                                                            const ManifestName& name) = 0;
  virtual Result<std::optional<StoredManifest>> manifest(std::string_view repository,
                                                         const ManifestName& name) = 0;
  // All of a repository, whether anything leads to them or not: in the order of their digests'
  // text, those after `after` (or from the beginning, when that is empty); none of an unknown
  // repository.
  virtual Result<std::vector<ListedManifest>> manifests(std::string_view repository,
                                                        const oci::Digest& after, size_t limit) = 0;
  // With all its tags and its streaming artifacts, and with the documents that stand for what waits
  // for it (WaitingTag), which do not come back. False, and nothing changed, when there was none.
  virtual Result<bool> delete_manifest(std::string_view repository, const oci::Digest& digest,
                                       Undo undo, const std::vector<DocumentPattern>& waiting) = 0;
  Result<bool> delete_manifest(std::string_view repository, const oci::Digest& digest, Undo undo) {
    return delete_manifest(repository, digest, undo, {});
  }
  // What delete_manifest would take now: digests and tags, as texts.
  virtual Result<std::vector<std::string>> taken_with(std::string_view repository,
                                                      const oci::Digest& digest) = 0;
  // With the documents that stand for what waits for it (WaitingTag), which do not come back.
  // False, and nothing changed, when there was neither.
  virtual Result<bool> delete_tag(std::string_view repository, std::string_view tag, Undo undo,
                                  const std::vector<DocumentPattern>& waiting) = 0;
  // With everything in it, and what waits as above. With kNever it is begun to be forgotten, as
  // forget() does.
  virtual Result<bool> delete_repository(std::string_view name, Undo undo,
                                         const std::vector<DocumentPattern>& waiting) = 0;
  Result<bool> delete_repository(std::string_view name, Undo undo) {
    return delete_repository(name, undo, {});
  }

  // What was deleted and can come back: newest first, those before `before` (the maximum for the
  // first page), of this repository or, when it is empty, of all.
  virtual Result<std::vector<Deletion>> deletions(std::string_view repository, int64_t before,
                                                  size_t limit) = 0;
  virtual Result<std::optional<Deletion>> deletion(int64_t id) = 0;
  // Undoes it. Empty when there is no such deletion (any more). With a move, which a repository's
  // deletion cannot have (kInvalid), its tag points to the deletion's manifest afterwards, what it
  // pointed to becomes a deletion, and other tags stay where they are by now; kConflict, and
  // nothing changed, when the move's tag is not where it was.
  virtual Result<std::optional<Restored>> restore(int64_t id,
                                                  const std::optional<TagMove>& move) = 0;
  Result<std::optional<Restored>> restore(int64_t id) { return restore(id, std::nullopt); }
  // Forgets it: what it took away cannot come back. False when there was none. Of much it removes
  // only so much that the caller does not wait for long: the rest is forget_deletions()' work.
  virtual Result<bool> forget(int64_t id) = 0;
  // Works at forgetting those that were made before `before`, and those that somebody began to
  // forget and did not end: removes some `limit` manifests, tags and links, so that nobody waits
  // for it for long. What it has begun is no deletion any more, whoever ends it.
  virtual Result<Forgotten> forget_deletions(WallTime before, size_t limit) = 0;

  // In the order of their bytes, those after `after`; empty optional for an unknown repository.
  virtual Result<std::optional<std::vector<std::string>>> tags(std::string_view repository,
                                                               std::string_view after,
                                                               size_t limit) = 0;

  // Newest first, those before position `before` (the maximum for the first page). Nothing is kept
  // of them but what `visit` keeps: there may be very many.
  virtual Result<void> visit_referrers(std::string_view repository, const oci::Digest& subject,
                                       const ArtifactTypes& types, int64_t before,
                                       const VisitReferrer& visit) = 0;
  // The first `limit` of these.
  Result<std::vector<Referrer>> referrers(std::string_view repository, const oci::Digest& subject,
                                          const ArtifactTypes& types, int64_t before, size_t limit);
  virtual Result<bool> is_referrer(std::string_view repository, const oci::Digest& subject,
                                   const oci::Digest& digest) = 0;

  // Whether the manifest names the blob, whatever as, or one of the newest `referrers` that refer
  // to it does. False when the manifest is not there.
  virtual Result<bool> names_blob(std::string_view repository, const oci::Digest& manifest,
                                  const oci::Digest& blob, size_t referrers) = 0;

  // The one call that a power loss may undo: the client then begins again.
  virtual Result<void> create_upload(const Upload& upload) = 0;
  // Empty when there is none of this id in this repository.
  virtual Result<std::optional<Upload>> upload(std::string_view repository,
                                               std::string_view id) = 0;
  // kNotFound when the upload is gone.
  virtual Result<void> record_received(std::string_view repository, std::string_view id,
                                       uint64_t received, WallTime expires) = 0;
  // The upload has become a blob: ends it and links the blob, in one. kNotFound when it is gone.
  // kUnavailable, and nothing changed, when `is_stored` says that the blob is not there (any more).
  virtual Result<void> finish_upload(std::string_view repository, std::string_view id,
                                     const oci::Digest& digest, uint64_t size,
                                     const std::function<Result<bool>()>& is_stored) = 0;
  virtual Result<bool> delete_upload(std::string_view repository, std::string_view id) = 0;
  // Whether an upload of this id exists in any repository.
  virtual Result<bool> upload_exists(std::string_view id) = 0;
  virtual Result<std::vector<Upload>> expired_uploads(WallTime now, size_t limit) = 0;

  // Documents have a kind ("scope-map") and a name that is unique in it.
  virtual Result<std::optional<Document>> document(std::string_view kind,
                                                   std::string_view name) = 0;
  // In the order of their names' bytes, those after `after`; at most `limit`.
  virtual Result<std::vector<Document>> documents(std::string_view kind, std::string_view after,
                                                  size_t limit) = 0;
  // Makes it (`version` 0) or replaces the version that was read; the new version. kConflict, and
  // nothing changed, when it is another one by now.
  virtual Result<int64_t> put_document(std::string_view kind, std::string_view name,
                                       std::string_view body, int64_t version) = 0;
  // False when there was none.
  virtual Result<bool> delete_document(std::string_view kind, std::string_view name) = 0;
};

}  // namespace runnel::meta
