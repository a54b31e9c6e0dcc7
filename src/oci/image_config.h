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

// What a container of the image runs when nobody says otherwise (image-spec, config.md: "config").
struct Process {
  std::vector<std::string> arguments;    // Entrypoint, then Cmd
  std::vector<std::string> environment;  // Env: "NAME=value"
  std::string working_directory;         // WorkingDir

  bool operator==(const Process&) const = default;
};

struct ImageConfig {
  std::string os;
  std::string architecture;
  std::string variant;
  std::vector<Digest> diff_ids;  // of the uncompressed layers, lowest first
  // Nothing where the configuration says none, or something else than texts, or more than 64 KiB.
  Process process;

  bool operator==(const ImageConfig&) const = default;
};

Result<ImageConfig> parse_image_config(Bytes bytes);

// The name of each prefix of layers (image-spec, "Layer ChainID"): the first is the first diff ID,
// every other one the SHA-256 of "CHAIN_BELOW DIFF_ID".
std::vector<Digest> chain_ids(std::span<const Digest> diff_ids);

}  // namespace runnel::oci
