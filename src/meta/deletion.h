// What was deleted and can come back.
//
// A deletion is what one request took away: a tag, or what a tag pointed to before it was pushed
// again, a manifest with its tags and streaming artifacts, or a repository with everything in it.
// All of it is out of sight, and is kept until the deletion is undone or forgotten.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "base/clock.h"
#include "oci/digest.h"

namespace runnel::meta {

// Whether what a call takes away can come back.
enum class Undo : uint8_t { kPossible, kNever };

struct Deletion {
  enum class Kind : uint8_t { kManifest, kTag, kOverwrite, kRepository };

  int64_t id = 0;
  Kind kind = Kind::kManifest;
  std::string repository;
  // The manifest; what the tag pointed to. Empty for a repository.
  oci::Digest digest;
  std::vector<std::string> tags;  // those that come back with it
  WallTime deleted;

  bool operator==(const Deletion&) const = default;
};

struct Forgotten {
  size_t deletions = 0;  // of which nothing is left now
  bool more = false;     // there is more to forget

  bool operator==(const Forgotten&) const = default;
};

struct Restored {
  size_t manifests = 0;
  std::vector<std::string> tags;
  // Tags that were pushed again since: they stay what they are. A tag that was deleted or
  // overwritten by itself comes back in any case, and what it pointed to meanwhile becomes a
  // deletion.
  std::vector<std::string> kept_tags;
};

}  // namespace runnel::meta
