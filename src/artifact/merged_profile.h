// What the starts of an image on many nodes have in common: one profile out of a vote of each node.
#pragma once

#include <span>

#include "artifact/profile.h"

namespace runnel::artifact {

// The chunks that at least a quarter of the votes have, in the order of their mean place among the
// votes that have them; of equals the one with more votes first. A node that reads something of its
// own moves nothing, and the chunks of a vote that are in it twice count once. Layers are those of
// these chunks, the first vote's first. `image` is the first vote's. Empty for no votes. It is
// within the limits of parse_profile(), whatever the votes name.
Profile merge_profiles(std::span<const Profile> votes);

// How much of what one of the two has the other has not: 0 for the same chunks of the same layers
// in whatever order, 1 when they have nothing in common.
double difference(const Profile& a, const Profile& b);

}  // namespace runnel::artifact
