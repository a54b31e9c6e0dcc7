// The reader of a layer's tree, and what is done with what it accepts: it is written the same
// again, merges with itself, and the merge is an EROFS image or a clean refusal.
//
// links: artifact erofs
#include <cstdint>
#include <span>

#include "artifact/layer_tree.h"
#include "artifact/merge.h"
#include "base/error.h"
#include "erofs/writer.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace runnel;
  constexpr uint64_t kBlocks = 1000;
  const auto input = std::as_bytes(std::span(data, size));
  auto tree = artifact::parse_layer_tree(input, kBlocks);
  if (!tree) return 0;

  const Buffer bytes = artifact::serialize(*tree);
  auto again = artifact::parse_layer_tree(bytes, kBlocks);
  RUNNEL_CHECK(again.has_value());
  RUNNEL_CHECK(artifact::serialize(*again) == bytes);

  std::vector<artifact::MergeLayer> layers;
  layers.push_back({.tree = *std::move(tree), .slot = 1});
  layers.push_back({.tree = *std::move(again), .slot = 2});
  auto merged = artifact::merge(std::move(layers));
  RUNNEL_CHECK(merged.has_value() || merged.error().code == Code::kExhausted);
  if (!merged) return 0;
  merged->devices = {{.blocks = kBlocks, .tag = {}}, {.blocks = kBlocks, .tag = {}}};
  (void)erofs::write_image(*merged);
  return 0;
}
