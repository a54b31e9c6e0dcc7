// A pointer to content: what it is, its digest, its size.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "base/bytes.h"
#include "base/error.h"
#include "oci/digest.h"

namespace runnel::oci {

using Annotations = std::map<std::string, std::string>;

struct Platform {
  std::string os;
  std::string architecture;
  std::string variant;
  std::string os_version;
  std::vector<std::string> os_features;

  bool operator==(const Platform&) const = default;
};

// "linux/arm64/v8"; the variant only when there is one.
std::string to_string(const Platform& platform);

struct Descriptor {
  std::string media_type;
  Digest digest;
  uint64_t size = 0;
  Annotations annotations;
  std::optional<Platform> platform;
  std::string artifact_type;      // empty for none
  std::vector<std::string> urls;  // where else the content can be had

  bool operator==(const Descriptor&) const = default;
};

// One line of JSON; keys always in the same order, empty members left out.
std::string to_json(const Descriptor& descriptor);
// Enough for whatever a manifest of 4 MiB can have in its annotations.
inline constexpr size_t kMaxDescriptorBytes = 8 << 20;
// kInvalid unless it is one JSON object with the members of a descriptor; others are ignored.
Result<Descriptor> parse_descriptor(Bytes json);

}  // namespace runnel::oci
