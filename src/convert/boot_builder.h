// An image's boot blob out of its converted layers.
#pragma once

#include <memory>
#include <string>
#include <string_view>
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
  std::string_view hot;  // artifact::kHotGuessed and its like
};

// What the hot pack has beside `files`, at most: this, and a quarter of the image's chunks.
inline constexpr uint64_t kMaxHotBytes = 64 << 20;

// A part of a file of the image.
struct HotRange {
  std::string path;  // absolute
  uint64_t offset = 0;
  uint64_t size = 0;

  bool operator==(const HotRange&) const = default;
};

struct BootPlan {
  uint64_t generation = 1;
  // These come first, whatever their size ("/usr/bin/python3"); names that the image does not have
  // are left out.
  std::vector<std::string> files;
  // What starts were seen to read, as far as the profile's layers are the image's.
  artifact::Profile profile;
  // Where the profile fits nothing: what starts of an earlier version read (hot_ranges()). Names
  // that the image does not have are left out.
  std::vector<HotRange> earlier;
  // Where that fits nothing either: what starts of other images read of layers that this image has,
  // too. What starting this one reads of its own layers is guessed besides.
  artifact::Profile shared;
  // Where nothing is known, or only of some layers: what starting this will probably read
  // (startup/startup.h).
  oci::Process process;
};

// Merges `trees` (of the image's layers, lowest first, `layers[i]` the file of the i-th; consumed)
// and writes head, tables and hot pack. Layers that the image has twice are passed twice. Equal
// arguments give equal bytes.
Result<BootBlob> build_boot_blob(const std::vector<const LayerFile*>& layers,
                                 std::vector<artifact::LayerTree> trees, const BootPlan& plan = {});

// Which files' parts the profile's chunks hold in the image of these layers, in the profile's
// order: what carries over to a version whose layers have other chunks. Arguments as above.
Result<std::vector<HotRange>> hot_ranges(const std::vector<const LayerFile*>& layers,
                                         std::vector<artifact::LayerTree> trees,
                                         const artifact::Profile& profile);

}  // namespace runnel::convert
