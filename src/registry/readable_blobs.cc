#include "registry/readable_blobs.h"

#include "registry/attributes.h"
#include "registry/blob_api.h"

namespace runnel::registry {

Refusal blob_unknown(const Route& route) {
  return {404, "BLOB_UNKNOWN", fmt::format("{} has no blob {}", route.repository, route.target)};
}

std::expected<ReadableBlob, Refusal> ReadableBlobs::find(const Route& route,
                                                         SteadyTime received_at) {
  if (route.hidden) return look_up(route);
  const auto make_key = [&](std::string& key) {
    key.append(route.repository).append(" ").append(route.target);
  };
  return remembered_.find(received_at, make_key, [&] { return look_up(route); });
}

std::expected<ReadableBlob, Refusal> ReadableBlobs::look_up(const Route& route) {
  RUNNEL_DO(check_attributes(metadata_, Attribute::kRead, route));
  RUNNEL_TRY(auto digest, digest_of(route.target));
  RUNNEL_TRY(const auto size, metadata_.blob_size(route.key(), digest));
  if (!size) return std::unexpected(blob_unknown(route));
  return ReadableBlob{.digest = std::move(digest), .size = *size};
}

}  // namespace runnel::registry
