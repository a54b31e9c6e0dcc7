#include "engine/image_tree.h"

#include <gtest/gtest.h>
#include <sys/stat.h>

#include <algorithm>

#include "base/durable.h"
#include "erofs/writer.h"
#include "support/temp_dir.h"

namespace runnel::engine {
namespace {

constexpr uint64_t kBlock = erofs::kBlockSize;

std::vector<oci::Digest> two_layers() {
  return {oci::Digest::of(as_bytes("one")), oci::Digest::of(as_bytes("two"))};
}

// /file: a block of layer 1, a hole, two blocks of layer 2, cut in the last; /link; /dir with
// `entries` files.
std::shared_ptr<const ImageTree> tree_with(const test::TempDir& directory, uint32_t entries) {
  erofs::Tree tree;
  tree.inodes.resize(4);
  tree.devices = {{.blocks = 8, .tag = {}}, {.blocks = 8, .tag = {}}};
  tree.inodes[0].mode = S_IFDIR | 0755;
  tree.inodes[0].entries = {{"file", 1}, {"link", 2}, {"dir", 3}};
  tree.inodes[1].mode = S_IFREG | 04755;
  tree.inodes[1].uid = 7;
  tree.inodes[1].mtime_s = 1000;
  tree.inodes[1].mtime_ns = 5;
  tree.inodes[1].size = 4 * kBlock - 10;
  tree.inodes[1].extents = {{0, 3, 1, 1}, {2, 5, 2, 2}};
  tree.inodes[1].xattrs = {{"user.colour", Buffer(3, std::byte{'b'})},
                           {"trusted.secret", Buffer(1, std::byte{'s'})}};
  tree.inodes[2].mode = S_IFLNK | 0777;
  tree.inodes[2].symlink_target = "dir/0";
  tree.inodes[3].mode = S_IFDIR | 0700;
  for (uint32_t i = 0; i < entries; ++i) {
    erofs::Inode inode;
    inode.mode = S_IFREG | 0600;
    tree.inodes[3].entries.push_back({std::to_string(i), 4 + i});
    tree.inodes.push_back(std::move(inode));
  }
  const auto path = directory.path() + "/metadata";
  EXPECT_TRUE(replace_file(path, erofs::write_image(tree).value()));
  return ImageTree::open(path, two_layers()).value();
}

erofs::Node find(const ImageTree& tree, std::string_view name) {
  return tree.child(tree.node(0).value(), name).value();
}

TEST(ImageTree, SaysWhereAFilesBytesLie) {
  const test::TempDir directory;
  const auto tree = tree_with(directory, 1);

  const auto pieces = tree->pieces(find(*tree, "file"), 100, 1 << 20).value();

  ASSERT_EQ(pieces.size(), 3u);
  EXPECT_EQ(pieces[0].layer, 0u);
  EXPECT_EQ(pieces[0].device_offset, 3 * kBlock + 100);
  EXPECT_EQ(pieces[0].length, kBlock - 100);
  EXPECT_EQ(pieces[1].layer, std::nullopt);
  EXPECT_EQ(pieces[1].length, kBlock);
  EXPECT_EQ(pieces[2].layer, 1u);
  EXPECT_EQ(pieces[2].device_offset, 5 * kBlock);
  EXPECT_EQ(pieces[2].length, 2 * kBlock - 10);
}

TEST(ImageTree, SaysNothingBehindTheEndOfAFile) {
  const test::TempDir directory;
  const auto tree = tree_with(directory, 1);

  EXPECT_TRUE(tree->pieces(find(*tree, "file"), 4 * kBlock - 10, 100)->empty());
  EXPECT_TRUE(tree->pieces(find(*tree, "file"), UINT64_MAX, UINT64_MAX)->empty());
}

TEST(ImageTree, ShowsAttributesAsErofsDoes) {
  const test::TempDir directory;
  const auto tree = tree_with(directory, 1);

  const auto attr = ImageTree::attributes(find(*tree, "file"));

  EXPECT_EQ(attr.mode, static_cast<uint32_t>(S_IFREG | 04755));
  EXPECT_EQ(attr.uid, 7u);
  EXPECT_EQ(attr.size, 4 * kBlock - 10);
  EXPECT_EQ(attr.mtime, 1000u);
  EXPECT_EQ(attr.mtimensec, 5u);
  EXPECT_EQ(tree->symlink_target(find(*tree, "link")).value(), "dir/0");
}

TEST(ImageTree, ListsALargeDirectoryInAnyPortions) {
  const test::TempDir directory;
  const auto tree = tree_with(directory, 1000);
  const auto node = find(*tree, "dir");

  std::vector<std::string> names;
  uint64_t offset = 0;
  for (auto some = tree->entries(node, offset).value(); !some.empty();
       some = tree->entries(node, offset).value()) {
    // As a small buffer would: only the first two of what is there.
    for (size_t i = 0; i < std::min<size_t>(2, some.size()); ++i) {
      names.emplace_back(some[i].name);
      offset = some[i].next;
    }
  }

  std::ranges::sort(names);
  EXPECT_EQ(names.size(), 1002u);
  EXPECT_EQ(std::ranges::unique(names).begin(), names.end());
}

TEST(ImageTree, HidesTrustedAttributesFromOthers) {
  const test::TempDir directory;
  const auto tree = tree_with(directory, 1);
  const auto node = find(*tree, "file");

  EXPECT_EQ(as_text(tree->xattr_names(node, false).value()), std::string_view("user.colour\0", 12));
  EXPECT_EQ(tree->xattr_names(node, true)->size(), 12u + 15u);
  EXPECT_EQ(as_text(tree->xattr(node, "user.colour").value()), "bbb");
  EXPECT_EQ(tree->xattr(node, "user.size").error().code, Code::kNotFound);
}

TEST(ImageTree, RefusesLayersThatAreNotItsDevices) {
  const test::TempDir directory;
  tree_with(directory, 1);

  EXPECT_FALSE(ImageTree::open(directory.path() + "/metadata", {}));
}

}  // namespace
}  // namespace runnel::engine
