// The half of a repull (repull.h) that changes something: an image's ordinary snapshots go, and
// containerd asks the node for streamed ones.
#pragma once

#include <cstddef>
#include <functional>
#include <stop_token>
#include <string>
#include <vector>

#include "base/error.h"

namespace runnel::node {

// Whether an ordinary snapshot of a chain ID is committed.
using IsUnpacked = std::function<Result<bool>(const std::string& chain_id)>;

// What is asked of containerd, for one image. Snapshots are named by their chain IDs.
class ImageSnapshots {
 public:
  virtual ~ImageSnapshots() = default;
  // kConflict while something stands on it.
  virtual Result<void> remove(const std::string& id) = 0;
  // Waits until the snapshotter has removed them, too.
  virtual Result<void> collect_garbage() = 0;
  // Asks for it as an unpacker does before it has the layer. False when the snapshotter wants it
  // unpacked.
  virtual Result<bool> find(const std::string& id, const std::string& parent) = 0;
  // The image needs it, and all that it stands on, from now on.
  virtual Result<void> hold(const std::string& id) = 0;
};

// Blocks; `chain` is from the lowest layer up. `tell` hears how many are removed, after each.
// Layers that another image stands on stay unpacked, and so does everything below them. kCancelled
// when it was told to stop before anything was removed; after that it goes on to its end.
Result<void> exchange_snapshots(const std::vector<std::string>& chain,
                                const IsUnpacked& is_unpacked, ImageSnapshots& snapshots,
                                const std::function<void(size_t removed)>& tell,
                                const std::stop_token& stop);

}  // namespace runnel::node
