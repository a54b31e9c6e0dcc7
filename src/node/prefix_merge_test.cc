#include "node/prefix_merge.h"

#include <gtest/gtest.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/durable.h"
#include "erofs/validator.h"
#include "support/temp_dir.h"

namespace runnel::node {
namespace {

using artifact::LayerRecord;
using artifact::LayerTree;
using artifact::TreeLimits;

// Layers in memory, and how many of them were asked for.
class Layers {
 public:
  void add(const LayerTree& tree, uint64_t device_blocks = 0, size_t times = 1) {
    const auto bytes = artifact::serialize(tree);
    LayerRecord record;
    record.parts.tree_size = bytes.size();
    record.device_blocks = device_blocks;
    if (device_blocks != 0) record.slot = static_cast<uint16_t>(++slots_);
    records_.insert(records_.end(), times, record);
    trees_.insert(trees_.end(), times, bytes);
  }
  Result<Buffer> merge() {
    return merge_prefix(records_, [this](size_t layer, const TreeLimits& limits) {
      ++loaded_;
      return artifact::parse_layer_tree(trees_[layer], records_[layer].device_blocks, limits);
    });
  }

  std::vector<LayerRecord>& records() { return records_; }
  size_t loaded() const { return loaded_; }

 private:
  std::vector<LayerRecord> records_;
  std::vector<Buffer> trees_;
  size_t slots_ = 0;
  size_t loaded_ = 0;
};

LayerTree empty_layer() {
  LayerTree tree;
  tree.inodes.emplace_back().mode = S_IFDIR | 0755;
  tree.flags = {0};
  return tree;
}

uint32_t add(LayerTree& tree, uint32_t parent, const std::string& name, uint16_t mode) {
  const auto number = static_cast<uint32_t>(tree.inodes.size());
  tree.inodes.emplace_back().mode = mode;
  tree.flags.push_back(0);
  tree.inodes[parent].entries.push_back({name, number});
  return number;
}

// A directory of its own with that many files of one block.
LayerTree layer_of_files(int layer, int files) {
  auto tree = empty_layer();
  auto directory = 0u;
  for (const auto& name :
       {std::string("usr"), std::string("lib"), fmt::format("package{}", layer)}) {
    directory = add(tree, directory, name, S_IFDIR | 0755);
  }
  for (int i = 0; i < files; ++i) {
    const auto file = add(tree, directory, fmt::format("module_{:06}.py", i), S_IFREG | 0644);
    tree.inodes[file].mtime_s = 1'700'000'000;
    tree.inodes[file].size = 3000;
    tree.inodes[file].extents = {{0, static_cast<uint64_t>(i), 1, 0}};
  }
  return tree;
}

TEST(PrefixMerge, HasRoomForHalfAMillionFilesInAHundredLayers) {
  Layers layers;
  for (int layer = 0; layer < 100; ++layer) layers.add(layer_of_files(layer, 5000), 5000);

  const auto image = layers.merge();

  ASSERT_TRUE(image) << image.error().message;
  const auto summary = erofs::validate(*image);
  ASSERT_TRUE(summary) << summary.error().message;
  EXPECT_EQ(summary->entries, 500'000u + 100 + 2);
  EXPECT_EQ(summary->devices.size(), 100u);
  uint64_t bytes = 0;
  for (const auto& record : layers.records()) bytes += record.parts.tree_size;
  EXPECT_LT(3 * bytes, kMaxMergedTreeBytes);
  EXPECT_LT(3 * image->size(), kMaxMergedImageBytes);
}

TEST(PrefixMerge, LoadsNothingOfTreesThatAreTooLargeTogether) {
  Layers layers;
  for (int layer = 0; layer < 3; ++layer) layers.add(empty_layer());
  layers.records()[0].parts.tree_size = kMaxMergedTreeBytes / 2;
  layers.records()[1].parts.tree_stored = kMaxMergedTreeBytes / 2;
  layers.records()[2].parts.tree_size = 1;

  EXPECT_EQ(mergeable_layers(layers.records()), 2u);
  EXPECT_EQ(layers.merge().error().code, Code::kExhausted);
  EXPECT_EQ(layers.loaded(), 0u);
}

// 3 MB of names, which one image has twenty times.
TEST(PrefixMerge, EndsWhenItsTreesTakeTooMuchMemory) {
  auto whiteouts = empty_layer();
  for (int i = 0; i < 500'000; ++i) {
    whiteouts.inodes[0].entries.push_back({fmt::format("{:05x}", i), artifact::kWhiteout});
  }
  Layers layers;
  layers.add(whiteouts, 0, 20);

  EXPECT_EQ(layers.merge().error().code, Code::kExhausted);
  EXPECT_LT(layers.loaded(), 20u);
}

// Each needs an index of 8192 chunks.
TEST(PrefixMerge, EndsWhenSparseFilesNeedTooLargeAnImage) {
  auto tree = empty_layer();
  for (uint64_t i = 0; i < kMaxMergedImageBytes / (64 << 10); ++i) {
    const auto file = add(tree, 0, fmt::format("sparse{:04}", i), S_IFREG | 0644);
    tree.inodes[file].size = erofs::kMaxChunkIndexes * erofs::kBlockSize;
    tree.inodes[file].extents = {{0, 0, 1, 0}};
  }
  Layers layers;
  layers.add(tree, 1);

  EXPECT_EQ(layers.merge().error().code, Code::kExhausted);
}

TEST(PrefixMerge, IsMadeAnewWhenItIsNotAsItWasKept) {
  const test::TempDir directory;
  const auto path = directory.path() + "/2.erofs";
  const Buffer merge(3 * erofs::kBlockSize, std::byte{7});
  EXPECT_FALSE(is_merge_kept(path));

  ASSERT_TRUE(keep_merge(path, merge));
  EXPECT_TRUE(is_merge_kept(path));

  Buffer other = merge;
  other[5000] ^= std::byte{1};
  ASSERT_TRUE(replace_file(path, other));
  EXPECT_FALSE(is_merge_kept(path));
  ASSERT_TRUE(replace_file(path, Bytes(merge).first(erofs::kBlockSize)));
  EXPECT_FALSE(is_merge_kept(path));
  ASSERT_TRUE(replace_file(path, merge));
  ASSERT_EQ(::unlink((path + ".sha256").c_str()), 0);
  EXPECT_FALSE(is_merge_kept(path)) << "nobody says what it was";
}

}  // namespace
}  // namespace runnel::node
