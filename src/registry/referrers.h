// The list of what refers to a manifest: signatures, SBOMs, streaming artifacts.
#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <string_view>

#include "base/error.h"
#include "meta/metadata_store.h"

namespace runnel::registry {

// Clients of containerd's kind read one page and refuse more than 4 MiB.
inline constexpr size_t kMaxReferrersBytes = (4 << 20) - (64 << 10);

struct ReferrersPage {
  std::string index;            // JSON of an OCI image index
  std::optional<int64_t> next;  // where the next page starts, if there is one
};

// Whether the referrer of this digest may be listed.
using IsListed = std::function<Result<bool>(std::string_view digest)>;

// One page of those that are listed, newest first, from position `before` (absent for the first
// page), as long as it stays below `max_bytes`; but one entry at least, if there is any. The first
// page also has the entries of the index behind the tag "sha256-HEX", where clients of registries
// without this list keep it, unless the list has them already or the repository does not have them
// at all; the last 500 of them.
Result<ReferrersPage> referrers_page(meta::MetadataStore& metadata, std::string_view repository,
                                     const oci::Digest& subject, const meta::ArtifactTypes& types,
                                     std::optional<int64_t> before, const IsListed& is_listed,
                                     size_t max_bytes = kMaxReferrersBytes);

}  // namespace runnel::registry
