// A MetadataStore that keeps everything in memory, and takes its time when it is told to.
#pragma once

#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <set>
#include <string>

#include "meta/metadata_store.h"

namespace runnel::test {

// May be called from any thread. Several of them on one Data are as several processes.
class MemoryMetadataStore final : public meta::MetadataStore {
 public:
  struct Data;
  static std::shared_ptr<Data> new_data();

  // `before_call` may sleep. The clock must outlive this.
  MemoryMetadataStore(
      std::shared_ptr<Data> data, const Clock& clock, std::function<void()> before_call = [] {})
      : data_(std::move(data)), clock_(clock), before_call_(std::move(before_call)) {}

  using Digest = oci::Digest;
  using Text = std::string_view;
  Result<bool> repository_exists(Text name) override;
  Result<std::vector<std::string>> repositories(Text after, size_t limit) override;
  Result<std::optional<uint64_t>> blob_size(Text repository, const Digest& digest) override;
  Result<std::optional<uint64_t>> lease_blob(Text repository, const Digest& digest,
                                             Duration renew_after) override;
  Result<void> link_blob(Text repository, const Digest& digest, uint64_t size) override;
  Result<bool> mount_blob(Text from, Text to, const Digest& digest) override;
  Result<std::vector<std::string>> repositories_with_blob(const Digest& digest,
                                                          size_t limit) override;
  Result<meta::UnlinkOutcome> unlink_blob(Text repository, const Digest& digest) override;
  Result<meta::Reviewed> unlink_unreferenced(WallTime before, size_t limit) override;
  Result<std::vector<Digest>> unlinked_blobs(const Digest& after, size_t limit) override;
  Result<bool> is_linked(const Digest& digest) override;
  Result<bool> remove_if_unlinked(const Digest& digest,
                                  const std::function<Result<void>()>& remove) override;
  Result<meta::PutManifestOutcome> put_manifest(Text repository,
                                                const meta::NewManifest& manifest) override;
  Result<bool> point_waiting_tag(const meta::WaitingTag& waiting) override;
  Result<std::optional<meta::ManifestInfo>> manifest_info(Text repository,
                                                          const meta::ManifestName& name) override;
  Result<std::optional<meta::StoredManifest>> manifest(Text repository,
                                                       const meta::ManifestName& name) override;
  using meta::MetadataStore::delete_manifest;
  Result<bool> delete_manifest(Text repository, const Digest& digest, meta::Undo undo,
                               const std::vector<meta::DocumentPattern>& waiting) override;
  Result<std::vector<std::string>> taken_with(Text repository, const Digest& digest) override;
  Result<bool> delete_tag(Text repository, Text tag, meta::Undo undo,
                          const std::vector<meta::DocumentPattern>& waiting) override;
  using meta::MetadataStore::delete_repository;
  Result<bool> delete_repository(Text name, meta::Undo undo,
                                 const std::vector<meta::DocumentPattern>& waiting) override;
  Result<std::vector<meta::Deletion>> deletions(Text repository, int64_t before,
                                                size_t limit) override;
  Result<std::optional<meta::Deletion>> deletion(int64_t id) override;
  using meta::MetadataStore::restore;
  Result<std::optional<meta::Restored>> restore(int64_t id,
                                                const std::optional<meta::TagMove>& move) override;
  Result<bool> forget(int64_t id) override;
  Result<meta::Forgotten> forget_deletions(WallTime before, size_t limit) override;
  Result<std::vector<meta::ListedManifest>> manifests(Text repository, const Digest& after,
                                                      size_t limit) override;
  Result<std::optional<std::vector<std::string>>> tags(Text repository, Text after,
                                                       size_t limit) override;
  Result<void> visit_referrers(Text repository, const Digest& subject,
                               const meta::ArtifactTypes& types, int64_t before,
                               const meta::VisitReferrer& visit) override;
  Result<bool> is_referrer(Text repository, const Digest& subject, const Digest& digest) override;
  Result<bool> names_blob(Text repository, const Digest& manifest, const Digest& blob,
                          size_t referrers) override;
  Result<void> create_upload(const meta::Upload& upload) override;
  Result<std::optional<meta::Upload>> upload(Text repository, Text id) override;
  Result<void> record_received(Text repository, Text id, uint64_t received,
                               WallTime expires) override;
  Result<void> finish_upload(Text repository, Text id, const Digest& digest, uint64_t size,
                             const std::function<Result<bool>()>& is_stored) override;
  Result<bool> delete_upload(Text repository, Text id) override;
  Result<bool> upload_exists(Text id) override;
  Result<std::vector<meta::Upload>> expired_uploads(WallTime now, size_t limit) override;
  Result<std::optional<meta::Document>> document(Text kind, Text name) override;
  Result<std::vector<meta::Document>> documents(Text kind, Text after, size_t limit) override;
  Result<int64_t> put_document(Text kind, Text name, Text body, int64_t version) override;
  Result<bool> delete_document(Text kind, Text name) override;

 private:
  std::unique_lock<std::mutex> enter();
  std::vector<meta::Referrer> referrers_before(Text repository, const Digest& subject,
                                               const meta::ArtifactTypes& types, int64_t before);

  const std::shared_ptr<Data> data_;
  const Clock& clock_;
  const std::function<void()> before_call_;
};

}  // namespace runnel::test

#include "support/memory_metadata_store_inl.h"  // IWYU pragma: export
