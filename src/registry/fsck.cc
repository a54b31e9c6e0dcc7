#include "registry/fsck.h"

#include <algorithm>

#include "registry/blob_check.h"
#include "registry/scrub.h"

namespace runnel::registry {

namespace {

constexpr size_t kBatch = 200;
constexpr size_t kNamed = 3;  // repositories in a finding

class Fsck {
 public:
  Fsck(blob::DirectoryStore& blobs, meta::SqliteStore& metadata, bool repair)
      : blobs_(blobs), metadata_(metadata), repair_(repair) {}

  Result<Checked> run() {
    RUNNEL_TRY(auto damage, metadata_.find_damage());
    for (auto& what : damage) add(what + ": restore the database from a backup", false);
    RUNNEL_DO(check_manifests());
    RUNNEL_DO(check_blobs());
    RUNNEL_DO(check_uploads());
    return std::move(checked_);
  }

 private:
  void add(std::string what, bool repaired) {
    checked_.findings.push_back({std::move(what), repaired});
  }

  Result<void> check_manifests() {
    for (int64_t position = 0;;) {
      RUNNEL_TRY(const auto page, metadata_.all_manifests(position, kBatch));
      if (page.empty()) return {};
      for (const auto& each : page) RUNNEL_DO(check_manifest(each));
      position = page.back().position;
    }
  }

  Result<void> check_manifest(const meta::PlacedManifest& placed) {
    ++checked_.manifests;
    const auto& [info, bytes] = placed.stored;
    checked_.bytes += bytes.size();
    const auto found = oci::Digest::of(as_bytes(bytes), info.digest.algorithm());
    if (found == info.digest && bytes.size() == info.size) return {};
    bool removed = false;
    if (repair_) {
      RUNNEL_TRY(removed, metadata_.remove_if_unchanged(placed));
    }
    add(fmt::format("{}manifest {} of {} has other bytes: push it again",
                    placed.deleted ? "deleted " : "", info.digest, placed.repository),
        removed);
    return {};
  }

  Result<void> check_blobs() {
    oci::Digest after;
    while (true) {
      RUNNEL_TRY(const auto page, metadata_.linked_blobs(after, kBatch));
      if (page.empty()) return {};
      for (const auto& each : page) RUNNEL_DO(check_linked(each));
      after = page.back().digest;
    }
  }

  Result<void> check_linked(const meta::LinkedBlob& linked) {
    ++checked_.blobs;
    const auto count = [&](size_t bytes) -> Result<void> {
      checked_.bytes += bytes;
      return {};
    };
    RUNNEL_TRY(const auto seen, blobs_.find(linked.digest));
    RUNNEL_TRY(const auto state, check_blob(blobs_, linked.digest, count));
    if (state == BlobState::kAbsent) return report_absent(linked.digest);
    if (state == BlobState::kDamaged) return report_damaged(linked.digest, seen);
    RUNNEL_TRY(const auto stored, blobs_.size(linked.digest));
    if (!stored || (linked.smallest == *stored && linked.largest == *stored)) return {};
    size_t changed = 0;
    if (repair_) {
      RUNNEL_TRY(changed, metadata_.set_link_sizes(linked.digest, *stored));
    }
    add(fmt::format("blob {} has {} bytes, a link says another size", linked.digest, *stored),
        changed > 0);
    return {};
  }

  Result<std::string> named(const oci::Digest& digest) {
    RUNNEL_TRY(const auto names, metadata_.repositories_with_blob(digest, kNamed));
    if (names.empty()) return std::string("what was deleted");
    return fmt::format("{}", fmt::join(names, ", "));
  }

  // Unless it was collected while this looked.
  Result<void> report_absent(const oci::Digest& digest) {
    RUNNEL_TRY(const bool linked, metadata_.is_linked(digest));
    RUNNEL_TRY(const auto stored, blobs_.find(digest));
    if (!linked || stored) return {};
    RUNNEL_TRY(const auto names, named(digest));
    add(fmt::format("blob {} of {} is gone: push it again", digest, names), false);
    return {};
  }

  Result<void> report_damaged(const oci::Digest& digest,
                              const std::optional<blob::StoredBlob>& seen) {
    bool set_aside = false;
    if (repair_ && seen) {
      RUNNEL_TRY(set_aside, set_aside_if_unchanged(blobs_, metadata_, *seen));
    }
    RUNNEL_TRY(const auto names, named(digest));
    add(fmt::format("blob {} of {} has other bytes: push it again", digest, names), set_aside);
    return {};
  }

  // Bytes are listed before rows are looked for: an upload has its row first.
  Result<void> check_uploads() {
    RUNNEL_TRY(const auto ids, blobs_.uploads());
    for (const auto& id : ids) {
      RUNNEL_TRY(const bool known, metadata_.upload_exists(id));
      if (known) continue;
      if (repair_) RUNNEL_DO(blobs_.discard_upload(id));
      add(fmt::format("upload {} has bytes, but nobody knows it", id), repair_);
    }
    return {};
  }

  blob::DirectoryStore& blobs_;
  meta::SqliteStore& metadata_;
  const bool repair_;
  Checked checked_;
};

}  // namespace

Result<Checked> fsck(blob::DirectoryStore& blobs, meta::SqliteStore& metadata, bool repair) {
  return Fsck(blobs, metadata, repair).run();
}

}  // namespace runnel::registry
