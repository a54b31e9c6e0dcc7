// Platforms as containerd compares them.
#pragma once

#include <string_view>

#include "oci/descriptor.h"

namespace runnel::oci {

// Of "linux/arm/v7"; what is missing is empty.
Platform parse_platform(std::string_view text);

// By the names that containerd gives architectures and variants, so that two ways of writing one
// platform become equal: arm64 is written without "v8", amd64 without "v1", arm with "v7" unless
// with another.
Platform normalized(Platform platform);

// Whether an image for `platform` is one of those wanted: a wanted platform without a variant takes
// every variant.
bool matches(const Platform& wanted, const Platform& platform);

}  // namespace runnel::oci
