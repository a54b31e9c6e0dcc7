#include "artifact/layer_tree.h"

#include <gtest/gtest.h>
#include <sys/stat.h>

namespace runnel::artifact {
namespace {

// root { dir(opaque) { file, link -> file }, gone (whiteout), sym }
LayerTree sample() {
  LayerTree tree;
  tree.inodes.resize(5);
  tree.flags = {0, kOpaque, 0, 0, kImplied};
  tree.inodes[0].mode = S_IFDIR | 0755;
  tree.inodes[1].mode = S_IFDIR | 01777;
  tree.inodes[1].mtime_s = -5;
  tree.inodes[1].mtime_ns = 7;
  tree.inodes[1].uid = 70'000;
  tree.inodes[2].mode = S_IFREG | 0644;
  tree.inodes[2].size = 3 * 4096;
  tree.inodes[2].extents = {{0, 5, 1, 0}, {2, 6, 1, 0}};
  tree.inodes[2].xattrs = {{"user.b", Buffer(3)}, {"user.a", Buffer()}};
  tree.inodes[3].mode = S_IFLNK | 0777;
  tree.inodes[3].symlink_target = "dir/file";
  tree.inodes[4].mode = S_IFDIR | 0755;
  tree.inodes[0].entries = {{"sym", 3}, {"gone", kWhiteout}, {"dir", 1}, {"implied", 4}};
  tree.inodes[1].entries = {{"link", 2}, {"file", 2}};
  return tree;
}

TEST(LayerTree, ReadsBackWhatWasWritten) {
  const auto tree = parse_layer_tree(serialize(sample()), 7);

  ASSERT_TRUE(tree) << tree.error().message;
  ASSERT_EQ(tree->inodes.size(), 5u);
  const auto& root = tree->inodes[0].entries;
  ASSERT_EQ(root.size(), 4u);
  EXPECT_EQ(root[0], (erofs::DirEntry{"dir", 1}));
  EXPECT_EQ(root[1], (erofs::DirEntry{"gone", kWhiteout}));
  EXPECT_EQ(root[2].name, "implied");
  EXPECT_EQ(tree->flags[1], kOpaque);
  EXPECT_EQ(tree->flags[root[2].inode], kImplied);
  const auto& directory = tree->inodes[1];
  EXPECT_EQ(directory.mtime_s, -5);
  EXPECT_EQ(directory.mtime_ns, 7u);
  EXPECT_EQ(directory.uid, 70'000u);
  ASSERT_EQ(directory.entries.size(), 2u);
  EXPECT_EQ(directory.entries[0].inode, directory.entries[1].inode);
  const auto& file = tree->inodes[directory.entries[0].inode];
  EXPECT_EQ(file.extents, sample().inodes[2].extents);
  EXPECT_EQ(file.xattrs[0].first, "user.a");
  EXPECT_EQ(tree->inodes[root[3].inode].symlink_target, "dir/file");
}

TEST(LayerTree, IsTheSameBytesInWhateverOrderItWasBuilt) {
  auto other = sample();
  std::swap(other.inodes[0].entries[0], other.inodes[0].entries[2]);
  std::swap(other.inodes[3], other.inodes[4]);
  std::swap(other.flags[3], other.flags[4]);
  for (auto& entry : other.inodes[0].entries) {
    if (entry.inode == 3 || entry.inode == 4) entry.inode = 7 - entry.inode;
  }

  EXPECT_EQ(serialize(other), serialize(sample()));
}

TEST(LayerTree, DropsWhatNoNameReaches) {
  auto tree = sample();
  tree.inodes[0].entries.pop_back();

  EXPECT_EQ(parse_layer_tree(serialize(tree), 7)->inodes.size(), 4u);
}

TEST(LayerTree, RefusesExtentsBeyondTheDevice) {
  EXPECT_FALSE(parse_layer_tree(serialize(sample()), 6));
}

TEST(LayerTree, RefusesNamesThatALookupCannotHave) {
  for (const auto& name : std::vector<std::string>{"a/b", ".", "..", {"a\0b", 3}, ""}) {
    auto tree = sample();
    tree.inodes[0].entries[0].name = name;
    EXPECT_FALSE(parse_layer_tree(serialize(tree), 7)) << name;
  }
}

TEST(LayerTree, RefusesADirectoryWithTwoNames) {
  auto tree = sample();
  tree.inodes[0].entries.push_back({"second", 1});

  EXPECT_FALSE(parse_layer_tree(serialize(tree), 7));
}

TEST(LayerTree, RefusesMoreXattrsThanAnInodeMayHave) {
  const auto with_xattrs = [](int count) {
    auto tree = sample();
    tree.inodes[3].xattrs.clear();
    for (int i = 0; i < count; ++i) {
      tree.inodes[3].xattrs.emplace_back(fmt::format("user.{}", i), Buffer());
    }
    return serialize(tree);
  };

  EXPECT_TRUE(parse_layer_tree(with_xattrs(1024), 7));
  EXPECT_FALSE(parse_layer_tree(with_xattrs(1025), 7));
}

TEST(LayerTree, RefusesWhatTakesMoreMemoryThanItMay) {
  const auto bytes = serialize(sample());
  TreeLimits limits;
  limits.max_memory = parse_layer_tree(bytes, 7)->memory;

  EXPECT_TRUE(parse_layer_tree(bytes, 7, limits));
  --limits.max_memory;
  EXPECT_EQ(parse_layer_tree(bytes, 7, limits).error().code, Code::kExhausted);
}

TEST(LayerTree, CountsWhatAFewBytesTakeOfMemory) {
  LayerTree whiteouts;
  whiteouts.inodes.emplace_back().mode = S_IFDIR | 0755;
  whiteouts.flags = {0};
  LayerTree extents = whiteouts;
  for (int i = 0; i < 1000; ++i) {
    whiteouts.inodes[0].entries.push_back({fmt::format("{:04}", i), kWhiteout});
  }
  extents.inodes[0].entries = {{"file", 1}};
  auto& file = extents.inodes.emplace_back();
  file.mode = S_IFREG | 0644;
  file.size = 1000 * 4096;
  for (uint64_t i = 0; i < 1000; ++i) file.extents.push_back({i, 0, 1, 0});
  extents.flags.push_back(0);

  EXPECT_GE(parse_layer_tree(serialize(whiteouts), 7)->memory, 1000 * sizeof(erofs::DirEntry));
  EXPECT_GE(parse_layer_tree(serialize(extents), 7)->memory, 1000 * sizeof(erofs::Extent));
}

TEST(LayerTree, NeverCrashesOnTruncatedOrChangedBytes) {
  const auto bytes = serialize(sample());
  int refused = 0;
  for (size_t size = 0; size < bytes.size(); ++size) {
    refused += !parse_layer_tree(Bytes(bytes).first(size), 7);
  }
  EXPECT_EQ(refused, bytes.size());
  for (size_t i = 0; i < bytes.size(); ++i) {
    for (const int flip : {1, 0x80, 0xff}) {
      auto changed = bytes;
      changed[i] ^= static_cast<std::byte>(flip);
      if (const auto tree = parse_layer_tree(changed, 7)) {
        EXPECT_EQ(parse_layer_tree(serialize(*tree), 7)->inodes.size(), tree->inodes.size());
      }
    }
  }
}

}  // namespace
}  // namespace runnel::artifact
