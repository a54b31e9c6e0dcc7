// The manifest of one image or artifact.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "base/bytes.h"
#include "base/error.h"
#include "oci/descriptor.h"

namespace runnel::oci {

struct Manifest {
  std::string media_type;  // OCI's or Docker's
  Descriptor config;
  std::vector<Descriptor> layers;
  std::optional<Descriptor> subject;
  std::string artifact_type;  // empty for none
  Annotations annotations;

  // What the referrers list says of it: its own type, or else its configuration's media type.
  const std::string& effective_artifact_type() const {
    return artifact_type.empty() ? config.media_type : artifact_type;
  }

  bool operator==(const Manifest&) const = default;
};

// One line of JSON; equal manifests give equal bytes. For manifests that Runnel makes: one that was
// pushed is kept as the bytes that came.
std::string to_json(const Manifest& manifest);

}  // namespace runnel::oci
