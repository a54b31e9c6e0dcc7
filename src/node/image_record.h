// Which image it is that a directory of the ImageStore holds: its image.json.
#pragma once

#include <string>
#include <vector>

#include "base/bytes.h"
#include "base/error.h"
#include "oci/digest.h"

namespace runnel::node {

struct ImageRecord {
  std::string host;
  std::string repository;
  oci::Digest subject;                 // the image's manifest
  std::vector<oci::Digest> chain_ids;  // of its layers, lowest first
  std::vector<uint64_t> layer_sizes;   // as the registry has them; empty in records from before

  bool operator==(const ImageRecord&) const = default;
};

std::string to_json(const ImageRecord& record);

// kInvalid for what to_json() of no version wrote, kUnsupported for that of a later one.
Result<ImageRecord> parse_image_record(Bytes json);

}  // namespace runnel::node
