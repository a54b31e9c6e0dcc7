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
#include "oci/image_config.h"

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

// What the hot pack has beside `files`, at most: this, and a quarter of the image's chunks.
inline constexpr uint64_t kMaxHotBytes = 64 << 20;

struct BootPlan {
  uint64_t generation = 1;
  // These come first, whatever their size ("/usr/bin/python3"); names that the image does not have
  // are left out.
  std::vector<std::string> files;
  // What starts were seen to read, as far as the profile's layers are the image's.
  artifact::Profile profile;
  // Where the profile fits nothing: what starting this will probably read (startup/startup.h).
  oci::Process process;
};

// Merges `trees` (of the image's layers, lowest first, `layers[i]` the file of the i-th; consumed)
// and writes head, tables and hot pack. Layers that the image has twice are passed twice. Equal
// arguments give equal bytes.
Result<BootBlob> build_boot_blob(const std::vector<const LayerFile*>& layers,
                                 std::vector<artifact::LayerTree> trees, const BootPlan& plan = {});

}  // namespace runnel::convert
