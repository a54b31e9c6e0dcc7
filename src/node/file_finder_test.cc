#include "node/file_finder.h"

#include <gmock/gmock.h>
#include <sys/stat.h>

#include "base/durable.h"
#include "erofs/writer.h"
#include "support/temp_dir.h"

namespace runnel::node {
namespace {

using testing::ElementsAre;

// /a: blocks 3 and 4 of device 1, 5 of device 2; /dir/b: block 6 of device 2.
std::string image_in(const test::TempDir& directory) {
  erofs::Tree tree;
  tree.inodes.resize(4);
  tree.devices = {{.blocks = 8, .tag = {}}, {.blocks = 8, .tag = {}}};
  tree.inodes[0].mode = S_IFDIR | 0755;
  tree.inodes[0].entries = {{"a", 1}, {"dir", 2}};
  tree.inodes[1].mode = S_IFREG | 0644;
  tree.inodes[1].size = 3 * erofs::kBlockSize;
  tree.inodes[1].extents = {{0, 3, 2, 1}, {2, 5, 1, 2}};
  tree.inodes[2].mode = S_IFDIR | 0700;
  tree.inodes[2].entries = {{"b\n", 3}};
  tree.inodes[3].mode = S_IFREG | 0600;
  tree.inodes[3].size = 10;
  tree.inodes[3].extents = {{0, 6, 1, 2}};
  const auto path = directory.path() + "/metadata";
  EXPECT_TRUE(replace_file(path, erofs::write_image(tree).value()));
  return path;
}

TEST(FileFinder, NamesTheFileOfEachBlock) {
  const test::TempDir directory;
  const auto found = find_files(image_in(directory), {{.device = 2, .block = 6},
                                                      {.device = 1, .block = 4},
                                                      {.device = 1, .block = 5},
                                                      {.device = 2, .block = 5},
                                                      {.device = 1, .block = 3},
                                                      {.device = 1, .block = 3}});

  EXPECT_THAT(found.value(), ElementsAre("/dir/b\n", "/a", "", "/a", "/a", "/a"));
}

TEST(FileFinder, LooksAtNothingForNothing) {
  EXPECT_TRUE(find_files("/nowhere", {})->empty());
  EXPECT_FALSE(find_files("/nowhere", {{.device = 1, .block = 0}}));
}

}  // namespace
}  // namespace runnel::node
