// Mounts that an earlier worker left without an image: it died after the mount, and before the
// image's first snapshot, without which a restart keeps no image. Nobody would ask for such a mount
// again, nor take it away, and its layers would stay in the cache for ever.
#pragma once

#include <set>
#include <string>
#include <vector>

namespace runnel::node {

// What is known of images after a restart.
struct KnownImages {
  std::set<std::string> subjects;   // hex digests of the manifests of those that were loaded
  std::set<std::string> damaged;    // likewise, of those that could not be; a container may use one
  std::set<std::string> chain_ids;  // of those that were loaded
};

// Those of `mounts` ("HEX-LAYERS", mount_name()) that no image may need. `held` are the
// chain IDs that have a snapshot: when one is of no known image, any of the mounts may be its, and
// none is left. A container's overlay does not keep its lower mount busy, so nobody else would
// notice.
std::vector<std::string> left_mounts(const std::vector<std::string>& mounts,
                                     const KnownImages& known, const std::set<std::string>& held);

}  // namespace runnel::node
