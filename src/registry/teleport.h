// Project Teleport's switch, for clients of the older generation: a repository whose pushes are
// "expanded", which here means that they get their streaming artifacts.
//
// The rule of its registries: so many repositories at most may have it switched on, and while there
// are fewer, a push switches it on by itself, even where somebody switched it off.
#pragma once

#include <cstddef>
#include <expected>
#include <optional>
#include <string>
#include <string_view>

#include "meta/metadata_store.h"
#include "registry/reply.h"

namespace runnel::registry {

struct TeleportConfig {
  size_t repositories = 10;  // with the switch on, at most
  bool enable_by_push = false;
};

// Empty when it was never switched, either way.
Result<std::optional<bool>> teleport_enabled(meta::MetadataStore& metadata,
                                             std::string_view repository);
// 409 when as many as there may be have it on.
std::expected<void, Refusal> set_teleport(meta::MetadataStore& metadata,
                                          std::string_view repository, bool to,
                                          const TeleportConfig& config);
// A push to the repository: whether it is to be expanded.
Result<bool> teleport_push(meta::MetadataStore& metadata, std::string_view repository,
                           const TeleportConfig& config);

}  // namespace runnel::registry
