// A layer's tree on this node: what a merge needs that is not in the image's boot blob.
#pragma once

#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "artifact/boot_blob.h"
#include "artifact/layer_tree.h"
#include "base/clock.h"
#include "base/error.h"
#include "cache/rescue.h"
#include "fetch/range_source.h"

namespace runnel::node {

// Where a layer's tree can be had from.
struct TreeSources {
  std::string path;                 // of the file that keeps it: the frame, as in the layer blob
  std::vector<std::string> copies;  // files of other images that may keep the same
  std::shared_ptr<fetch::RangeSource> blob;  // the layer blob
  std::optional<cache::Original> original;
  fetch::Priority priority = fetch::Priority::kDemand;
  // Asked after each piece of a blob or an original that came: an error ends the reading.
  std::function<Result<void>()> goes_on = [] { return Result<void>(); };
};

// The tree that `layer` says, verified: from the file, a copy, the layer blob, or the layer that
// this was made from, in that order. What did not come from the file is kept in it. Blocks, for the
// time that the network takes; the errors are of the last way. Its bytes are in memory as they are
// stored and plain: who asks for it has looked at how many `layer` says that there are.
Result<artifact::LayerTree> load_tree(const artifact::LayerRecord& layer,
                                      const TreeSources& sources, const Clock& clock,
                                      const artifact::TreeLimits& limits = {});

// Sees to it that the file is there, for a load_tree() later. What comes is verified and not taken
// apart, which is most of the work: the digest is the boot blob's, so no other source would have a
// better tree. Blocks like load_tree().
Result<void> keep_tree(const artifact::LayerRecord& layer, const TreeSources& sources,
                       const Clock& clock);

}  // namespace runnel::node
