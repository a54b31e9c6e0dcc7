// Which manifests are container images: in a repository and among an index's entries there are
// others (signatures, attestations, charts), some of which look much like one.
#pragma once

#include "oci/manifest.h"

namespace runnel::convert {

// Whether it says that it is an image: it has an image's configuration, and no artifact type.
bool calls_itself_image(const oci::Manifest& manifest);

// Whether it also has an image's layers. A signature of cosign calls itself an image, and has none.
bool is_image(const oci::Manifest& manifest);

}  // namespace runnel::convert
