// Which call of the conversion's API (streaming_api.h) a path names.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

namespace runnel::registry {

inline constexpr std::string_view kOperationsPath = "/runnel/v1/_operations";

struct StreamingTarget {
  enum class Kind : uint8_t {
    kSwitch,
    kImage,
    kOperation,
    kCancel,
    kListing,
    kBulk,
    kArtifact,
    kKeys,
    kMount
  };
  Kind kind = Kind::kSwitch;
  std::string repository = {};  // not checked
  std::string rest = {};        // digest or operation; not checked
};

// Empty when no call has this path.
std::optional<StreamingTarget> parse_streaming_target(std::string_view path);

}  // namespace runnel::registry
