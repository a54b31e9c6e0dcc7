#include "registry/collector.h"

namespace runnel::registry {

namespace {

// So much at once that pushes wait for a moment only.
constexpr size_t kBatch = 500;
constexpr size_t kDeletionBatch = 20;  // each may be a whole repository

}  // namespace

Result<Collected> Collector::collect(const std::stop_token& stop) {
  Collected collected;
  RUNNEL_DO(forget(stop, collected));
  const WallTime before = clock_.wall() - lifetime_;
  RUNNEL_DO(unlink(before, collected));
  oci::Digest after;
  while (!stop.stop_requested()) {
    RUNNEL_TRY(const auto page, blobs_.list(after, kBatch));
    if (page.empty()) break;
    for (const auto& stored : page)
      if (stored.since < before) RUNNEL_DO(remove(stored, collected));
    after = page.back().digest;
  }
  return collected;
}

Result<void> Collector::forget(const std::stop_token& stop, Collected& collected) {
  const WallTime before = clock_.wall() - undo_time_;
  while (!stop.stop_requested()) {
    RUNNEL_TRY(const size_t count, metadata_.forget_deletions(before, kDeletionBatch));
    collected.deletions += count;
    if (count < kDeletionBatch) break;
  }
  return {};
}

Result<void> Collector::unlink(WallTime before, Collected& collected) {
  while (true) {
    RUNNEL_TRY(const size_t count, metadata_.unlink_unreferenced(before, kBatch));
    collected.links += count;
    if (count < kBatch) return {};
  }
}

Result<void> Collector::remove(const blob::StoredBlob& stored, Collected& collected) {
  // Asked first without a transaction, because most blobs are linked.
  RUNNEL_TRY(const bool linked, metadata_.is_linked(stored.digest));
  if (linked) return {};
  RUNNEL_TRY(const auto size, blobs_.size(stored.digest));
  bool existed = false;
  const auto remove_blob = [&]() -> Result<void> {
    RUNNEL_TRY(existed, blobs_.remove(stored.digest));
    return {};
  };
  RUNNEL_TRY([[maybe_unused]] const bool removed,
             metadata_.remove_if_unlinked(stored.digest, remove_blob));
  if (!existed) return {};
  ++collected.blobs;
  collected.bytes += size.value_or(0);
  return {};
}

}  // namespace runnel::registry
