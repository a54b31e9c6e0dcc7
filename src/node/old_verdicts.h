// Which verdicts on images that do not stream are forgotten: a machine that builds images pulls a
// new one every minute, for months.
#pragma once

#include <vector>

#include "base/clock.h"
#include "oci/digest.h"

namespace runnel::node {

// On an image, by its manifest, for which nobody waits.
struct OldVerdict {
  oci::Digest image;
  SteadyTime decided{};
};

// As many as are kept. Who pulls an image again whose verdict is gone has a new one made.
inline constexpr size_t kMostVerdicts = 256;

// The oldest of them, as many as are more than `most`.
std::vector<oci::Digest> verdicts_to_forget(std::vector<OldVerdict> verdicts,
                                            size_t most = kMostVerdicts);

}  // namespace runnel::node
