// A list of manifests: an image for several platforms, or any set.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "base/bytes.h"
#include "base/error.h"
#include "oci/descriptor.h"

namespace runnel::oci {

struct Index {
  std::string media_type;  // OCI's index or Docker's manifest list
  std::vector<Descriptor> manifests;
  std::optional<Descriptor> subject;
  std::string artifact_type;  // empty for none
  Annotations annotations;

  bool operator==(const Index&) const = default;
};

// One line of JSON; equal indexes give equal bytes.
std::string to_json(const Index& index);

}  // namespace runnel::oci
