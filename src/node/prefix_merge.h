// A merge of an image's lowest layers, for another image that is built on these alone.
//
// What an image says of itself decides how much that takes, and the node has no process that it
// could limit for it, as the converter has. So it is bounded here: half a million files take a
// third of what they may.
#pragma once

#include <functional>
#include <span>
#include <string>

#include "artifact/boot_blob.h"
#include "artifact/layer_tree.h"
#include "base/bytes.h"
#include "base/error.h"

namespace runnel::node {

inline constexpr uint64_t kMaxMergedTreeBytes = uint64_t{256} << 20;  // of all trees, see below
inline constexpr uint64_t kMaxMergeMemory = uint64_t{1} << 30;  // of LayerTree::memory, together
inline constexpr uint64_t kMaxMergedImageBytes = uint64_t{512} << 20;

// How many of the layers, from the lowest up, have trees that may be merged together: the bytes of
// these, plain or as they are stored, whichever are more. What is above nobody needs to fetch.
size_t mergeable_layers(std::span<const artifact::LayerRecord> layers);

// Loads the tree of one of the layers, by its number, within these limits.
using LoadTree =
    std::function<Result<artifact::LayerTree>(size_t layer, const artifact::TreeLimits& limits)>;

// The metadata of a file system that has these layers. kExhausted when they are more than
// mergeable_layers(), before any is loaded, and when one of the other limits is passed.
Result<Buffer> merge_prefix(std::span<const artifact::LayerRecord> layers, const LoadTree& load);

// Keeps a merge in the file at `path`, durably, and its SHA-256 in PATH.sha256, in hexadecimal.
Result<void> keep_merge(const std::string& path, Bytes merge);
// Whether it is there as it was kept. Nobody else can say what a merge should be: the artifact does
// not have it, and the kernel believes what it mounts.
bool is_merge_kept(const std::string& path);

}  // namespace runnel::node
