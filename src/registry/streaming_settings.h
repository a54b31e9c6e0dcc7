// What a repository does about streaming by itself: documents of the metadata store, which need no
// repository to be there.
#pragma once

#include <chrono>
#include <functional>
#include <string>
#include <string_view>

#include "base/clock.h"
#include "meta/metadata_store.h"

namespace runnel::registry {

inline constexpr int64_t kMaxHoldTag = 3600;  // seconds

struct StreamingSettings {
  bool convert_pushed = false;
  // As the client said them; artifacts are always of our own format.
  std::string format = "overlaybd";
  std::string version = "v1";
  // A pushed tag waits for its image's artifact, so long at most; 0: it does not.
  std::chrono::seconds hold_tag{0};
  bool is_set = false;  // somebody has set them
  // The change that made them so, as an operation; empty: one of before changes had ids.
  std::string change_id;
  WallTime changed;

  bool operator==(const StreamingSettings&) const = default;
};

Result<StreamingSettings> load_streaming_settings(meta::MetadataStore& metadata,
                                                  std::string_view repository);
// `change` is called again, with what is there, when somebody else was faster. What they are then.
Result<StreamingSettings> change_streaming_settings(
    meta::MetadataStore& metadata, std::string_view repository,
    const std::function<void(StreamingSettings&)>& change);

}  // namespace runnel::registry
