#include "node/prefix_merge.h"

#include <algorithm>

#include "artifact/merge.h"
#include "base/durable.h"
#include "base/fd.h"
#include "base/mapped_file.h"
#include "codec/sha256.h"
#include "erofs/writer.h"

namespace runnel::node {

namespace {

constexpr std::string_view kDigestSuffix = ".sha256";

}  // namespace

size_t mergeable_layers(std::span<const artifact::LayerRecord> layers) {
  uint64_t left = kMaxMergedTreeBytes;
  size_t count = 0;
  for (const auto& layer : layers) {
    const uint64_t bytes = std::max(layer.parts.tree_size, layer.parts.tree_stored);
    if (bytes > left) break;
    left -= bytes;
    ++count;
  }
  return count;
}

Result<Buffer> merge_prefix(std::span<const artifact::LayerRecord> layers, const LoadTree& load) {
  if (const size_t most = mergeable_layers(layers); most < layers.size()) {
    return fail(
        Code::kExhausted,
        "{} layers cannot be merged on a node: the trees of the lowest {} have more than {} "
        "bytes",
        layers.size(), most + 1, kMaxMergedTreeBytes);
  }
  std::vector<artifact::MergeLayer> parts;
  parts.reserve(layers.size());
  artifact::TreeLimits limits;
  limits.max_memory = kMaxMergeMemory;
  for (size_t i = 0; i < layers.size(); ++i) {
    auto tree = load(i, limits);
    if (!tree) return std::unexpected(tree.error().in(fmt::format("layer {}", i + 1)));
    limits.max_memory -= tree->memory;
    parts.push_back({.tree = *std::move(tree), .slot = layers[i].slot});
  }
  RUNNEL_TRY(auto tree, artifact::merge(std::move(parts)));
  for (const size_t i : artifact::records_with_tables(layers)) {
    tree.devices.push_back(
        {.blocks = layers[i].device_blocks, .tag = to_hex(layers[i].blob_digest)});
  }
  return erofs::write_image(tree, {.max_bytes = kMaxMergedImageBytes});
}

Result<void> keep_merge(const std::string& path, Bytes merge) {
  const auto digest = to_hex(codec::sha256(merge));
  RUNNEL_DO(replace_file(path + std::string(kDigestSuffix), as_bytes(digest)));
  return replace_file(path, merge);
}

bool is_merge_kept(const std::string& path) {
  const auto digest = read_file(path + std::string(kDigestSuffix), 64);
  if (!digest) return false;
  const auto merge = MappedFile::open(path, kMaxMergedImageBytes);
  if (!merge) return false;
  const bool right = to_hex(codec::sha256((*merge)->bytes())) == as_text(*digest);
  (*merge)->let_go();
  return right;
}

}  // namespace runnel::node
