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

constexpr auto kPieceTimeout = std::chrono::seconds(20);  // of a blob: then the original is asked

// A tree as it is kept, and what its digest is of.
struct Stored {
  Buffer frame;
  Buffer plain;
};

Result<Stored> verified(const LayerRecord& layer, Buffer frame) {
  RUNNEL_TRY(auto plain, artifact::unpack_layer_tree(frame, layer.parts));
  return Stored{.frame = std::move(frame), .plain = std::move(plain)};
}

Result<Stored> from_file(const LayerRecord& layer, const std::string& path) {
  RUNNEL_TRY(auto frame, read_file(path, artifact::kMaxTreeStored));
  return verified(layer, std::move(frame));
}

// Images on one base have its trees in common.
Result<Stored> from_copies(const LayerRecord& layer, const TreeSources& sources) {
  for (const auto& path : sources.copies) {
    if (auto stored = from_file(layer, path)) return stored;
  }
  return fail(Code::kNotFound, "no other image keeps it");
}

Result<Stored> from_blob(const LayerRecord& layer, const TreeSources& sources, const Clock& clock) {
  const fetch::ReadThrough part{.priority = sources.priority,
                                .from = layer.parts.tree_offset,
                                .to = layer.parts.tree_offset + layer.parts.tree_stored,
                                .piece_timeout = kPieceTimeout};
  Buffer frame;
  RUNNEL_DO(fetch::read_through(*sources.blob, clock, part, [&](Bytes bytes) -> Result<void> {
    RUNNEL_DO(sources.goes_on());
    frame.insert(frame.end(), bytes.begin(), bytes.end());
    return {};
  }));
  return verified(layer, std::move(frame));
}

Result<Stored> from_original(const LayerRecord& layer, const TreeSources& sources,
                             const Clock& clock) {
  const auto& original = *sources.original;
  artifact::LayerLayout layout(original.diff_id, artifact::kChunkSize,
                               [](const Buffer&) { return Result<void>(); });
  RUNNEL_DO(fetch::read_through(*original.source, clock,
                                {.priority = sources.priority, .piece_timeout = kPieceTimeout},
                                [&](Bytes bytes) -> Result<void> {
                                  RUNNEL_DO(sources.goes_on());
                                  return layout.feed(bytes);
                                }));
  RUNNEL_TRY(const auto tree, layout.finish());
  Buffer plain = artifact::serialize(tree);
  if (codec::sha256(plain) != layer.parts.tree_digest) {
    return fail(Code::kInvalid, "layer {} of {}: its tree is not the artifact's", original.digest,
                original.name);
  }
  return Stored{.frame = codec::ZstdCompressor(artifact::kZstdLevel).compress(plain),
                .plain = std::move(plain)};
}

// From anywhere but its file, which has it then.
Result<Stored> bring(const LayerRecord& layer, const TreeSources& sources, const Clock& clock) {
  auto stored = from_copies(layer, sources);
  if (!stored) stored = from_blob(layer, sources, clock);
  if (!stored && sources.original && stored.error().code != Code::kCancelled) {
    log::warning("{}: {}; reading the layer that it was made from", sources.path,
                 stored.error().message);
    stored = from_original(layer, sources, clock);
  }
  if (!stored) return stored;
  if (auto kept = replace_file(sources.path, stored->frame); !kept) {
    log::warning("a layer's tree is not kept: {}", kept.error().message);
  }
  return stored;
}

}  // namespace

Result<LayerTree> load_tree(const LayerRecord& layer, const TreeSources& sources,
                            const Clock& clock, const artifact::TreeLimits& limits) {
  auto stored = from_file(layer, sources.path);
  if (!stored) stored = bring(layer, sources, clock);
  if (!stored) return std::unexpected(stored.error());
  return artifact::parse_layer_tree(stored->plain, layer.device_blocks, limits);
}

Result<void> keep_tree(const LayerRecord& layer, const TreeSources& sources, const Clock& clock) {
  if (::access(sources.path.c_str(), F_OK) == 0) return {};
  RUNNEL_DO(bring(layer, sources, clock));
  return {};
}

}  // namespace runnel::node
