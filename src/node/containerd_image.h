// An image as containerd has it.
#pragma once

#include <string>
#include <vector>

#include "base/bytes.h"
#include "base/error.h"
#include "oci/digest.h"
#include "oci/manifest.h"
#include "snapshot/containerd_images.h"

namespace runnel::node {

struct ContainerdImage {
  oci::Digest digest;  // of the manifest of this machine's platform
  std::string media_type;
  Buffer bytes;  // of the manifest
  oci::Manifest manifest;
  std::vector<oci::Digest> diff_ids;  // one for each layer
};

// What is read is held to its digests. kNotFound when containerd does not know the name.
Result<ContainerdImage> find_image(const snapshot::ContainerdImages& containerd,
                                   const std::string& name);

}  // namespace runnel::node
