#include "node/layer_tree_file.h"

#include <unistd.h>

#include "artifact/layer_layout.h"
#include "base/durable.h"
#include "base/fd.h"
#include "base/log.h"
#include "codec/zstd.h"
#include "fetch/read_through.h"

namespace runnel::node {

namespace {

using artifact::LayerRecord;
using artifact::LayerTree;

constexpr auto kBlobTimeout = std::chrono::seconds(20);  // then the original is asked

Result<LayerTree> open_frame(const LayerRecord& layer, Bytes frame) {
  return artifact::open_layer_tree(frame, layer.parts, layer.device_blocks);
}

Result<LayerTree> from_file(const LayerRecord& layer, const std::string& path, Buffer& frame) {
  RUNNEL_TRY(frame, read_file(path, artifact::kMaxTreeStored));
  return open_frame(layer, frame);
}

// Images on one base have its trees in common.
Result<LayerTree> from_copies(const LayerRecord& layer, const TreeSources& sources, Buffer& frame) {
  for (const auto& path : sources.copies) {
    if (auto tree = from_file(layer, path, frame)) return tree;
  }
  return fail(Code::kNotFound, "no other image keeps it");
}

Result<LayerTree> from_blob(const LayerRecord& layer, const TreeSources& sources,
                            const Clock& clock, Buffer& frame) {
  const fetch::ReadThrough part{.priority = sources.priority,
                                .from = layer.parts.tree_offset,
                                .to = layer.parts.tree_offset + layer.parts.tree_stored,
                                .piece_timeout = kBlobTimeout};
  RUNNEL_DO(fetch::read_through(*sources.blob, clock, part, [&](Bytes bytes) -> Result<void> {
    frame.insert(frame.end(), bytes.begin(), bytes.end());
    return {};
  }));
  return open_frame(layer, frame);
}

Result<LayerTree> from_original(const LayerRecord& layer, const TreeSources& sources,
                                const Clock& clock, Buffer& frame) {
  const auto& original = *sources.original;
  artifact::LayerLayout layout(original.diff_id, artifact::kChunkSize,
                               [](const Buffer&) { return Result<void>(); });
  RUNNEL_DO(fetch::read_through(*original.source, clock, {.priority = sources.priority},
                                [&](Bytes bytes) { return layout.feed(bytes); }));
  RUNNEL_TRY(const auto tree, layout.finish());
  const Buffer plain = artifact::serialize(tree);
  if (codec::sha256(plain) != layer.parts.tree_digest) {
    return fail(Code::kInvalid, "layer {} of {}: its tree is not the artifact's", original.digest,
                original.name);
  }
  frame = codec::ZstdCompressor(artifact::kZstdLevel).compress(plain);
  return open_frame(layer, frame);
}

}  // namespace

Result<LayerTree> load_tree(const LayerRecord& layer, const TreeSources& sources,
                            const Clock& clock) {
  Buffer frame;
  if (auto kept = from_file(layer, sources.path, frame)) return kept;
  auto tree = from_copies(layer, sources, frame);
  if (!tree) {
    frame.clear();
    tree = from_blob(layer, sources, clock, frame);
  }
  if (!tree && sources.original && tree.error().code != Code::kCancelled) {
    log::warning("{}: {}; reading the layer that it was made from", sources.path,
                 tree.error().message);
    frame.clear();
    tree = from_original(layer, sources, clock, frame);
  }
  if (!tree) return tree;
  if (auto kept = replace_file(sources.path, frame); !kept) {
    log::warning("a layer's tree is not kept: {}", kept.error().message);
  }
  return tree;
}

}  // namespace runnel::node
