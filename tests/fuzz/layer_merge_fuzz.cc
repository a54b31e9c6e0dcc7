// Two bytes of length, that many bytes of a lower layer's tree, and the rest as an upper one's. A
// tree that is accepted reads back from its stored form; two of them merge, and what comes out is
// an image that the validator accepts, or is refused as more than EROFS can hold.
//
// Seeds: make_boot_corpus.py.
//
// links: artifact erofs
#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <span>

#include "artifact/layer_tree.h"
#include "artifact/merge.h"
#include "erofs/erofs.h"

using runnel::Bytes;
using runnel::Code;
using namespace runnel::artifact;

namespace {

constexpr uint64_t kDeviceBlocks = 1000;

void check_round_trip(const LayerTree& tree) {
  const auto stored = serialize(tree);
  const auto again = parse_layer_tree(stored, kDeviceBlocks);
  RUNNEL_CHECK(again.has_value());
  RUNNEL_CHECK(again->inodes.size() == tree.inodes.size());
  RUNNEL_CHECK(serialize(*again) == stored);
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const Bytes input = std::as_bytes(std::span(data, size));
  if (size < 2) return 0;
  const size_t first = std::min<size_t>(runnel::load_le<uint16_t>(input.data()), size - 2);
  std::vector<MergeLayer> layers;
  for (const Bytes bytes : {input.subspan(2, first), input.subspan(2 + first)}) {
    auto tree = parse_layer_tree(bytes, kDeviceBlocks);
    if (!tree) continue;
    check_round_trip(*tree);
    layers.push_back({.tree = *std::move(tree), .slot = static_cast<uint16_t>(layers.size() + 1)});
  }
  auto merged = merge(std::move(layers));
  RUNNEL_CHECK(merged.has_value() || merged.error().code == Code::kExhausted);
  if (!merged) return 0;
  merged->devices.assign(2, {.blocks = kDeviceBlocks, .tag = ""});
  const auto image = runnel::erofs::write_image(*merged);
  if (image) RUNNEL_CHECK(runnel::erofs::validate(*image).has_value());
  return 0;
}
