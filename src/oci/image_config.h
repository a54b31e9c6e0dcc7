// The configuration of a container image, as far as Runnel needs it.
#pragma once

#include <span>
#include <string>
#include <vector>

#include "base/bytes.h"
#include "base/error.h"
#include "oci/digest.h"

namespace runnel::oci {

inline constexpr size_t kMaxConfigBytes = 8 << 20;

struct ImageConfig {
  std::string os;
  std::string architecture;
  std::string variant;
  std::vector<Digest> diff_ids;  // of the uncompressed layers, lowest first

  bool operator==(const ImageConfig&) const = default;
};

Result<ImageConfig> parse_image_config(Bytes bytes);

// The name of each prefix of layers (image-spec, "Layer ChainID"): the first is the first diff ID,
// every other one the SHA-256 of "CHAIN_BELOW DIFF_ID".
std::vector<Digest> chain_ids(std::span<const Digest> diff_ids);

}  // namespace runnel::oci
