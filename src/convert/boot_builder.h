// An image's boot blob out of its converted layers.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "artifact/boot_blob.h"
#include "artifact/layer_blob.h"
#include "artifact/profile.h"
#include "base/error.h"
#include "base/fd.h"

namespace runnel::convert {

// A layer whose blob stands in a local file.
struct LayerFile {
  std::shared_ptr<const UniqueFd> file;
  artifact::LayerBlobWriter::Written blob;
};

struct BootBlob {
  Buffer bytes;
  uint64_t head_size = 0;
};

// A profile's part of the hot pack, at most: this, and a quarter of the image's chunks.
inline constexpr uint64_t kMaxHotProfileBytes = 64 << 20;

// Merges `trees` (of the image's layers, lowest first, `layers[i]` the file of the i-th; consumed)
// and writes head, tables and hot pack: the chunks of `hot_files`, then those of `profile` as far
// as its layers are this image's. Layers that the image has twice are passed twice.
Result<BootBlob> build_boot_blob(const std::vector<const LayerFile*>& layers,
                                 std::vector<artifact::LayerTree> trees, uint64_t generation,
                                 const std::vector<std::string>& hot_files,
                                 const artifact::Profile& profile = {});

}  // namespace runnel::convert
