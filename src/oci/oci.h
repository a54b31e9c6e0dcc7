// oci/ holds what the OCI specifications (and Docker's schema 2, an equal citizen) name: digests,
// references, descriptors, manifests, indexes, image configurations, media types. It reads them
// from hostile bytes and writes the ones that Runnel makes.
//
// It does not hold: anything that talks to a registry, stores anything, or looks into a layer.
// Everything is a value or a pure function and may be used from any thread.
#pragma once

#include "oci/descriptor.h"    // IWYU pragma: export
#include "oci/digest.h"        // IWYU pragma: export
#include "oci/document.h"      // IWYU pragma: export
#include "oci/fallback_tag.h"  // IWYU pragma: export
#include "oci/image_config.h"  // IWYU pragma: export
#include "oci/index.h"         // IWYU pragma: export
#include "oci/manifest.h"      // IWYU pragma: export
#include "oci/media_types.h"   // IWYU pragma: export
#include "oci/platform.h"      // IWYU pragma: export
#include "oci/reference.h"     // IWYU pragma: export
