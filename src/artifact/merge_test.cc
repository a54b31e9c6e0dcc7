#include "artifact/merge.h"

#include <gtest/gtest.h>
#include <sys/stat.h>

#include <algorithm>
#include <map>

namespace runnel::artifact {
namespace {

// Builds a layer's tree from short statements; every directory's entries end up sorted.
class Layer {
 public:
  Layer() { add(S_IFDIR | 0755, 0); }

  uint32_t directory(uint32_t parent, const std::string& name, uint8_t flags = 0,
                     uint16_t permissions = 0755) {
    return named(parent, name, add(static_cast<uint16_t>(S_IFDIR | permissions), flags));
  }
  uint32_t file(uint32_t parent, const std::string& name, uint32_t uid = 0) {
    const auto inode = named(parent, name, add(S_IFREG | 0644, 0));
    tree_.inodes[inode].uid = uid;
    tree_.inodes[inode].size = 10;
    tree_.inodes[inode].extents = {{0, 0, 1, 0}};
    return inode;
  }
  uint32_t symlink(uint32_t parent, const std::string& name, const std::string& target) {
    const auto inode = named(parent, name, add(S_IFLNK | 0777, 0));
    tree_.inodes[inode].symlink_target = target;
    return inode;
  }
  uint32_t named(uint32_t parent, const std::string& name, uint32_t inode) {
    auto& entries = tree_.inodes[parent].entries;
    entries.push_back({name, inode});
    std::ranges::sort(entries, {}, &erofs::DirEntry::name);
    if (inode != kWhiteout) tree_.inodes[inode].parent = parent;
    return inode;
  }
  void whiteout(uint32_t parent, const std::string& name) { named(parent, name, kWhiteout); }

  erofs::Inode& operator[](uint32_t inode) { return tree_.inodes[inode]; }
  LayerTree take() { return std::move(tree_); }

 private:
  uint32_t add(uint16_t mode, uint8_t flags) {
    tree_.inodes.emplace_back().mode = mode;
    tree_.flags.push_back(flags);
    return static_cast<uint32_t>(tree_.inodes.size() - 1);
  }

  LayerTree tree_;
};

std::vector<MergeLayer> parts_of(std::initializer_list<Layer*> layers) {
  std::vector<MergeLayer> parts;
  for (auto* layer : layers) {
    parts.push_back({.tree = layer->take(), .slot = static_cast<uint16_t>(parts.size() + 1)});
  }
  return parts;
}

erofs::Tree merged(std::initializer_list<Layer*> layers) {
  return merge(parts_of(layers)).value();
}

// The inode at "a/b/c", or null.
const erofs::Inode* at(const erofs::Tree& tree, std::string_view path) {
  const erofs::Inode* inode = &tree.inodes[0];
  while (!path.empty()) {
    const auto part = path.substr(0, path.find('/'));
    path.remove_prefix(std::min(path.size(), part.size() + 1));
    const auto entry = std::ranges::find(inode->entries, part, &erofs::DirEntry::name);
    if (entry == inode->entries.end()) return nullptr;
    inode = &tree.inodes[entry->inode];
  }
  return inode;
}

TEST(Merge, TakesTheUppermostFileAndKeepsTheRest) {
  Layer lower, upper;
  lower.file(0, "both", 1);
  lower.file(0, "low", 1);
  upper.file(0, "both", 2);

  const auto tree = merged({&lower, &upper});

  EXPECT_EQ(at(tree, "both")->uid, 2u);
  EXPECT_EQ(at(tree, "both")->extents[0].device, 2);
  EXPECT_EQ(at(tree, "low")->extents[0].device, 1);
}

TEST(Merge, HidesWhatAWhiteoutNamesAndLetsALaterLayerBringItBack) {
  Layer lower, middle, upper;
  lower.file(lower.directory(0, "gone"), "old");
  lower.file(0, "file");
  middle.whiteout(0, "gone");
  middle.whiteout(0, "file");
  upper.file(upper.directory(0, "gone"), "new");

  const auto tree = merged({&lower, &middle, &upper});

  EXPECT_EQ(at(tree, "file"), nullptr);
  EXPECT_NE(at(tree, "gone/new"), nullptr);
  EXPECT_EQ(at(tree, "gone/old"), nullptr);
}

TEST(Merge, StopsAtAnOpaqueDirectory) {
  Layer lower, upper;
  lower.file(lower.directory(0, "dir"), "old");
  upper.file(upper.directory(0, "dir", kOpaque), "new");

  const auto tree = merged({&lower, &upper});

  EXPECT_NE(at(tree, "dir/new"), nullptr);
  EXPECT_EQ(at(tree, "dir/old"), nullptr);
}

TEST(Merge, DoesNotLookThroughAFileBetweenTwoDirectories) {
  Layer lowest, middle, upper;
  lowest.file(lowest.directory(0, "name"), "old");
  middle.file(0, "name");
  upper.file(upper.directory(0, "name"), "new");

  const auto tree = merged({&lowest, &middle, &upper});

  EXPECT_NE(at(tree, "name/new"), nullptr);
  EXPECT_EQ(at(tree, "name/old"), nullptr);
}

TEST(Merge, KeepsHardLinksOneInode) {
  Layer layer;
  const auto file = layer.file(0, "a");
  layer.named(0, "b", file);

  const auto tree = merged({&layer});

  EXPECT_EQ(at(tree, "a"), at(tree, "b"));
  EXPECT_EQ(tree.inodes.size(), 2u);
}

TEST(Merge, GivesAnImpliedDirectoryTheLowerOnesAttributes) {
  Layer lower, upper;
  const auto directory = lower.directory(0, "dir", 0, 0711);
  lower[directory].uid = 5;
  lower[directory].mtime_s = 99;
  lower[directory].xattrs = {{"user.x", Buffer(1)}};
  upper.file(upper.directory(0, "dir", kImplied), "new");

  const auto tree = merged({&lower, &upper});

  const auto* dir = at(tree, "dir");
  EXPECT_EQ(dir->mode, S_IFDIR | 0711);
  EXPECT_EQ(dir->uid, 5u);
  EXPECT_EQ(dir->mtime_s, 99);
  EXPECT_EQ(dir->xattrs.size(), 1u);
}

TEST(Merge, HidesALowerLinkBehindARealDirectoryWithTheTargetsAttributes) {
  Layer lower, upper;
  lower.file(lower.directory(lower.directory(0, "usr"), "lib", 0, 0700), "libc");
  lower.symlink(0, "lib", "usr/lib");
  upper.file(upper.directory(0, "lib", kImplied), "new");

  const auto tree = merged({&lower, &upper});

  EXPECT_EQ(at(tree, "lib")->mode, S_IFDIR | 0700);
  EXPECT_NE(at(tree, "lib/new"), nullptr);
  EXPECT_EQ(at(tree, "lib/libc"), nullptr);
  EXPECT_NE(at(tree, "usr/lib/libc"), nullptr);
}

TEST(Merge, LeavesAnImpliedDirectoryAloneWhereTheLowerOneWasRemoved) {
  Layer lowest, middle, upper;
  lowest.directory(0, "dir", 0, 0700);
  middle.whiteout(0, "dir");
  upper.file(upper.directory(0, "dir", kImplied), "new");

  const auto tree = merged({&lowest, &middle, &upper});

  EXPECT_EQ(at(tree, "dir")->mode, S_IFDIR | 0755);
}

TEST(Merge, WalksThroughALinkAndGoesOnBehindIt) {
  Layer lower, upper;
  const auto usr = lower.directory(0, "usr");
  lower.directory(lower.directory(usr, "lib"), "x", 0, 0700);
  lower.symlink(usr, "link", "../usr/./lib");
  upper.file(upper.directory(upper.directory(upper.directory(0, "usr"), "link"), "x", kImplied),
             "new");

  const auto tree = merged({&lower, &upper});

  EXPECT_EQ(at(tree, "usr/link/x")->mode, S_IFDIR | 0700);
}

TEST(Merge, PutsTheLowerDirectorysXattrsInPlaceOfItsOwn) {
  Layer lower, upper;
  lower[lower.directory(0, "dir")].xattrs = {{"user.a", Buffer(1)}, {"user.b", Buffer(1)}};
  const auto directory = upper.directory(0, "dir", kImplied);
  upper[directory].xattrs = {{"user.b", Buffer(2)}, {"user.c", Buffer(2)}};

  const auto tree = merged({&lower, &upper});

  std::map<std::string, size_t> sizes;
  for (const auto& [name, value] : at(tree, "dir")->xattrs) sizes[name] = value.size();
  EXPECT_EQ(at(tree, "dir")->xattrs.size(), 3u);
  EXPECT_EQ(sizes, (std::map<std::string, size_t>{{"user.a", 1}, {"user.b", 1}, {"user.c", 2}}));
}

// Names below a link of the lower layer that goes up and down for long, and leads nowhere.
std::vector<MergeLayer> layers_with_a_long_link(int names) {
  Layer lower, upper;
  lower.directory(0, "d");
  std::string target;
  while (target.size() < 4000) target += "d/../";
  lower.symlink(0, "link", target + "none");
  const auto link = upper.directory(0, "link");
  for (int i = 0; i < names; ++i) {
    upper.directory(link, fmt::format("name{:03}", i), kImplied);
  }
  return parts_of({&lower, &upper});
}

TEST(Merge, EndsWhenLookUpsTakeTooManySteps) {
  const MergeLimits limits{.max_steps = 100'000};

  EXPECT_TRUE(merge(layers_with_a_long_link(10), limits));
  const auto tree = merge(layers_with_a_long_link(100), limits);

  ASSERT_FALSE(tree);
  EXPECT_EQ(tree.error().code, Code::kExhausted);
}

TEST(Merge, EndsWhenImpliedDirectoriesTakeTooManyXattrs) {
  const auto layers = [](int names) {
    Layer lower, upper;
    lower[lower.directory(0, "dir")].xattrs = {{"user.large", Buffer(60'000)}};
    for (int i = 0; i < names; ++i) {
      lower.symlink(0, fmt::format("link{:03}", i), "dir");
      upper.directory(0, fmt::format("link{:03}", i), kImplied);
    }
    return parts_of({&lower, &upper});
  };
  const MergeLimits limits{.max_xattr_bytes = 1'000'000};

  EXPECT_TRUE(merge(layers(10), limits));
  const auto tree = merge(layers(100), limits);

  ASSERT_FALSE(tree);
  EXPECT_EQ(tree.error().code, Code::kExhausted);
}

}  // namespace
}  // namespace runnel::artifact
