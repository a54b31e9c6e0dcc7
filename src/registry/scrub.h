// Reads every blob again, slowly, and sets aside those that are no longer what their digest says.
//
// What is set aside counts as absent: nobody gets its bytes, and a push of it repairs it.
#pragma once

#include <functional>

#include "base/clock.h"
#include "base/error.h"
#include "blob/directory_store.h"
#include "meta/sqlite_store.h"

namespace runnel::registry {

struct Scrubbed {
  size_t blobs = 0;
  uint64_t bytes = 0;
  std::vector<oci::Digest> damaged;  // set aside
};

class Scrubber {
 public:
  // Waits for so long; false when it is to end.
  using Rest = std::function<bool(Duration)>;

  // The stores must outlive this. Reads at most `bytes_per_second` on average.
  Scrubber(blob::DirectoryStore& blobs, meta::SqliteStore& metadata, uint64_t bytes_per_second,
           Rest rest)
      : blobs_(blobs),
        metadata_(metadata),
        bytes_per_second_(bytes_per_second),
        rest_(std::move(rest)) {}

  // All blobs once, those after `from` first and then those before it, so that a process that never
  // lives long enough for all of them does not begin with the same ones every time. Ends early when
  // resting says so. One call at a time; it blocks for long.
  Result<Scrubbed> scrub(const oci::Digest& from);

 private:
  Result<bool> scrub_range(const oci::Digest& after, const oci::Digest& last, Scrubbed& scrubbed);
  Result<void> scrub_blob(const blob::StoredBlob& stored, Scrubbed& scrubbed);

  blob::DirectoryStore& blobs_;
  meta::SqliteStore& metadata_;
  const uint64_t bytes_per_second_;
  const Rest rest_;
};

// Sets the blob aside unless it was pushed again since it was `seen`. False when it was.
Result<bool> set_aside_if_unchanged(blob::DirectoryStore& blobs, meta::SqliteStore& metadata,
                                    const blob::StoredBlob& seen);

}  // namespace runnel::registry
