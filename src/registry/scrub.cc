#include "registry/scrub.h"

#include "base/log.h"
#include "registry/blob_check.h"

namespace runnel::registry {

namespace {

constexpr size_t kBatch = 200;

}  // namespace

Result<Scrubbed> Scrubber::scrub(const oci::Digest& from) {
  Scrubbed scrubbed;
  RUNNEL_TRY(const bool goes_on, scrub_range(from, {}, scrubbed));
  if (goes_on && !from.empty()) RUNNEL_DO(scrub_range({}, from, scrubbed));
  return scrubbed;
}

Result<bool> Scrubber::scrub_range(const oci::Digest& after, const oci::Digest& last,
                                   Scrubbed& scrubbed) {
  oci::Digest at = after;
  while (true) {
    RUNNEL_TRY(const auto page, blobs_.list(at, kBatch));
    if (page.empty()) return true;
    for (const auto& stored : page) {
      if (!last.empty() && stored.digest > last) return true;
      auto outcome = scrub_blob(stored, scrubbed);
      if (!outcome && outcome.error().code == Code::kCancelled) return false;
      if (!outcome) log::warning("scrub: blob {}: {}", stored.digest, outcome.error().message);
    }
    at = page.back().digest;
  }
}

Result<void> Scrubber::scrub_blob(const blob::StoredBlob& stored, Scrubbed& scrubbed) {
  const auto pace = [&](size_t bytes) -> Result<void> {
    scrubbed.bytes += bytes;
    const auto time = std::chrono::duration<double>(static_cast<double>(bytes) /
                                                    static_cast<double>(bytes_per_second_));
    if (rest_(std::chrono::duration_cast<Duration>(time))) return {};
    return fail(Code::kCancelled, "the registry ends");
  };
  RUNNEL_TRY(const auto state, check_blob(blobs_, stored.digest, pace));
  ++scrubbed.blobs;
  if (state != BlobState::kDamaged) return {};
  RUNNEL_TRY(const bool done, set_aside_if_unchanged(blobs_, metadata_, stored));
  if (!done) return {};
  log::error("blob {} is damaged and was set aside: push it again to repair it", stored.digest);
  scrubbed.damaged.push_back(stored.digest);
  return {};
}

// Within keep_links: a push that has replaced the blob and not linked it yet is told that the blob
// is gone when it comes to linking, and one that has linked it has made it newer.
Result<bool> set_aside_if_unchanged(blob::DirectoryStore& blobs, meta::SqliteStore& metadata,
                                    const blob::StoredBlob& seen) {
  bool done = false;
  const auto work = [&]() -> Result<void> {
    RUNNEL_TRY(const auto now, blobs.find(seen.digest));
    if (now != seen) return {};
    RUNNEL_TRY(done, blobs.set_aside(seen.digest));
    return {};
  };
  RUNNEL_DO(metadata.keep_links(work));
  return done;
}

}  // namespace runnel::registry
