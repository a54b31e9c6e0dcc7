#include "registry/collector.h"

#include <condition_variable>
#include <mutex>

#include "registry/soft_delete_policy.h"

namespace runnel::registry {

namespace {

// So much at once that pushes wait for a moment only.
constexpr size_t kBatch = 500;
constexpr size_t kForgetBatch = 200;  // manifests take longer

// As long as the work took: whoever asks again and again for the database's lock finds it free.
void rest(SteadyTime worked_since, const std::stop_token& stop) {
  std::mutex mutex;
  std::condition_variable_any wake;
  std::unique_lock lock(mutex);
  wake.wait_for(lock, stop, std::chrono::steady_clock::now() - worked_since, [] { return false; });
}

}  // namespace

Result<Collected> Collector::collect(const std::stop_token& stop, OldDeletions old_deletions) {
  Collected collected;
  const WallTime before = clock_.wall() - lifetime_;
  if (old_deletions == OldDeletions::kForget) RUNNEL_DO(forget(stop, collected));
  RUNNEL_DO(unlink(before, stop, collected));
  RUNNEL_DO(remove_unlinked(before, stop, collected));
  return collected;
}

Result<Collected> Collector::sweep(const std::stop_token& stop) {
  Collected collected;
  const WallTime before = clock_.wall() - lifetime_;
  oci::Digest after;
  while (!stop.stop_requested()) {
    RUNNEL_TRY(const auto page, blobs_.list(after, kBatch));
    if (page.empty()) break;
    for (const auto& stored : page) {
      if (stored.since >= before) continue;
      // Asked first without a transaction, because most blobs are linked.
      RUNNEL_TRY(const bool linked, metadata_.is_linked(stored.digest));
      if (!linked) RUNNEL_DO(remove(stored.digest, stored, collected));
    }
    after = page.back().digest;
  }
  return collected;
}

Result<void> Collector::forget(const std::stop_token& stop, Collected& collected) {
  RUNNEL_TRY(const auto policy,
             soft_delete_policy(metadata_, {.enabled = true, .kept = undo_time_, .updated = {}}));
  const WallTime before = clock_.wall() - policy.kept;
  while (!stop.stop_requested()) {
    const auto begun = std::chrono::steady_clock::now();
    RUNNEL_TRY(const auto forgotten, metadata_.forget_deletions(before, kForgetBatch));
    collected.deletions += forgotten.deletions;
    if (!forgotten.more) break;
    rest(begun, stop);
  }
  return {};
}

Result<void> Collector::unlink(WallTime before, const std::stop_token& stop, Collected& collected) {
  while (!stop.stop_requested()) {
    const auto begun = std::chrono::steady_clock::now();
    RUNNEL_TRY(const auto reviewed, metadata_.unlink_unreferenced(before, kBatch));
    collected.links += reviewed.unlinked;
    if (reviewed.links < kBatch) break;
    rest(begun, stop);
  }
  return {};
}

Result<void> Collector::remove_unlinked(WallTime before, const std::stop_token& stop,
                                        Collected& collected) {
  oci::Digest after;
  while (!stop.stop_requested()) {
    RUNNEL_TRY(const auto page, metadata_.unlinked_blobs(after, kBatch));
    if (page.empty()) break;
    for (const auto& digest : page) {
      RUNNEL_TRY(const auto stored, blobs_.find(digest));
      // Pushed again, and perhaps not linked yet: its turn comes later.
      if (stored && stored->since >= before) continue;
      RUNNEL_DO(remove(digest, stored, collected));
    }
    after = page.back();
  }
  return {};
}

Result<void> Collector::remove(const oci::Digest& digest,
                               const std::optional<blob::StoredBlob>& stored,
                               Collected& collected) {
  bool existed = false;
  const auto remove_blob = [&]() -> Result<void> {
    RUNNEL_TRY(existed, blobs_.remove(digest));
    return {};
  };
  RUNNEL_TRY([[maybe_unused]] const bool removed,
             metadata_.remove_if_unlinked(digest, remove_blob));
  if (!existed) return {};
  ++collected.blobs;
  collected.bytes += stored ? stored->size : 0;
  return {};
}

}  // namespace runnel::registry
