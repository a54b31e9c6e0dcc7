// Merges the trees of an image's layers into the one file system that containerd's overlayfs shows.
//
// Overlayfs rules: the uppermost layer that has a name decides what it is and its attributes; a
// whiteout ends the search; a directory takes in the lower directories of its name down to an
// opaque one or to something else. Directories that no entry of their layer named (kImplied) get
// the attributes that containerd's unpack copies: from the nearest lower layer that has the path,
// found through that layer's symbolic links alone, unless what it has there is no directory.
#pragma once

#include <cstdint>
#include <vector>

#include "artifact/layer_tree.h"
#include "base/error.h"
#include "erofs/tree.h"

namespace runnel::artifact {

// `layers` from the lowest up. The k-th layer's extents get device slot `slots[k]`; a layer without
// data (device_blocks 0) has slot 0. The result has no devices: the caller knows their sizes.
struct MergeLayer {
  LayerTree tree;
  uint16_t slot = 0;
};

// What the look-ups of implied directories may take, all of them together. In an image without any
// other, each is looked for in each layer below and its path walked; links on that path, which the
// image's author makes up, are what could take days.
struct MergeLimits {
  uint64_t max_steps = uint64_t{1} << 27;          // through names, 23 ns each: three seconds
  uint64_t max_xattr_bytes = uint64_t{256} << 20;  // that are given to them
};

// Consumes the trees (they may be large). kExhausted when a limit is passed; all else is linear in
// the trees, and their memory is counted when they are parsed.
Result<erofs::Tree> merge(std::vector<MergeLayer> layers, const MergeLimits& limits = {});

}  // namespace runnel::artifact
