// For how long deletions can be undone: what the configuration says, until an Owner says something
// else at run time, which is a document of the metadata store and so holds for every registry on
// the data.
#pragma once

#include <chrono>
#include <optional>

#include "base/clock.h"
#include "base/error.h"
#include "meta/deletion.h"
#include "meta/metadata_store.h"

namespace runnel::registry {

// ACR's bounds.
inline constexpr int64_t kMinSoftDeleteDays = 1;
inline constexpr int64_t kMaxSoftDeleteDays = 90;

struct SoftDeletePolicy {
  bool enabled = true;              // what is deleted from now on can come back
  Duration kept{};                  // so long; also what was deleted before it was switched off
  std::optional<WallTime> updated;  // empty: it is the configuration's

  meta::Undo undo() const { return enabled ? meta::Undo::kPossible : meta::Undo::kNever; }
};

// What holds now; `configured` when nobody said anything else. Any thread; blocks.
Result<SoftDeletePolicy> soft_delete_policy(meta::MetadataStore& metadata,
                                            const SoftDeletePolicy& configured);

struct SoftDeleteChange {
  std::optional<bool> enabled;
  std::optional<std::chrono::days> days;  // kMinSoftDeleteDays to kMaxSoftDeleteDays
};
// The policy after the change, which is durable then.
Result<SoftDeletePolicy> change_soft_delete(meta::MetadataStore& metadata,
                                            const SoftDeletePolicy& configured,
                                            const SoftDeleteChange& change, WallTime now);

}  // namespace runnel::registry
