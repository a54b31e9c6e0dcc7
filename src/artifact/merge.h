// Merges the trees of an image's layers into the one file system that containerd's overlayfs shows.
//
// Overlayfs rules: the uppermost layer that has a name decides what it is and its attributes; a
// whiteout ends the search; a directory takes in the lower directories of its name down to an
// opaque one or to something else. Directories that no entry of their layer named (kImplied) get
// the attributes that containerd's unpack copies: from the nearest lower layer that has the path,
// found through that layer's symbolic links alone, unless what it has there is no directory.
#pragma once

#include <span>
#include <vector>

#include "artifact/layer_tree.h"
#include "erofs/tree.h"

namespace runnel::artifact {

// `layers` from the lowest up. The k-th layer's extents get device slot `slots[k]`; a layer without
// data (device_blocks 0) has slot 0. The result has no devices: the caller knows their sizes.
struct MergeLayer {
  LayerTree tree;
  uint16_t slot = 0;
};

// Consumes the trees (they may be large).
erofs::Tree merge(std::vector<MergeLayer> layers);

}  // namespace runnel::artifact
