#include "erofs/reader.h"

#include <gtest/gtest.h>

#include "erofs/sample_trees.h"
#include "erofs/writer.h"

namespace runnel::erofs {
namespace {

class ReaderOf {
 public:
  explicit ReaderOf(const Tree& tree)
      : image_(write_image(tree).value()), reader_(Reader::open(image_).value()) {}
  const Reader* operator->() const { return &reader_; }

 private:
  Buffer image_;
  Reader reader_;
};

Tree tree_with_links() {
  Tree tree = test::empty_tree();
  const uint32_t usr = test::add(tree, 0, "usr", test::directory());
  const uint32_t bin = test::add(tree, usr, "bin", test::directory());
  test::add(tree, bin, "python3", test::file(77));
  test::add(tree, bin, "python", test::symlink("python3"));
  test::add(tree, 0, "bin", test::symlink("/usr/bin"));
  test::add(tree, bin, "up", test::symlink("../../../usr"));
  test::add(tree, 0, "loop", test::symlink("loop"));
  return tree;
}

TEST(Reader, FindsEveryNameOfALargeDirectory) {
  const Tree tree = test::rich_tree();
  const ReaderOf reader(tree);
  const Node many = reader->resolve("many", false).value();

  for (int i = 0; i < 10'000; ++i) {
    const std::string name = "entry-" + std::to_string(i);
    ASSERT_EQ(reader->lookup(many, name)->name, name);
  }
  for (const char* absent : {"", "a", "entry-", "entry-10000", "zzz", "!"}) {
    EXPECT_EQ(reader->lookup(many, absent).error().code, Code::kNotFound) << absent;
  }
  EXPECT_EQ(reader->entries(many)->size(), 10'003u);
}

TEST(Reader, FollowsSymbolicLinksOnThePath) {
  const ReaderOf reader(tree_with_links());

  EXPECT_EQ(reader->resolve("/bin/python", true)->disk.size, 77u);
  EXPECT_TRUE(reader->resolve("bin/python", false)->is_symlink());
  EXPECT_EQ(reader->resolve("bin/up/bin/python", true)->disk.size, 77u);
  EXPECT_EQ(reader->resolve("///bin///./../bin/python3", false)->disk.size, 77u);
  EXPECT_EQ(reader->resolve("", true)->nid, reader->root());
  EXPECT_EQ(reader->resolve("../..", true)->nid, reader->root());
}

TEST(Reader, SaysWhatAPathLacks) {
  const ReaderOf reader(tree_with_links());

  EXPECT_EQ(reader->resolve("usr/lib/x", true).error().code, Code::kNotFound);
  EXPECT_EQ(reader->resolve("usr/bin/python3/x", true).error().code, Code::kNotFound);
  EXPECT_EQ(reader->resolve("loop", true).error().code, Code::kInvalid);
  EXPECT_TRUE(reader->resolve("loop", false)->is_symlink());
}

TEST(Reader, GivesXattrsSharedAndInline) {
  const ReaderOf reader(test::rich_tree());
  const Node node = reader->resolve("xattrs/labelled3", false).value();

  std::map<std::string, std::string> xattrs;
  for (const XattrView& xattr : reader->xattrs(node).value()) {
    xattrs[xattr.name] = as_text(xattr.value);
  }

  EXPECT_EQ(xattrs,
            (std::map<std::string, std::string>{{"security.selinux", "system_u:object_r:bin_t:s0"},
                                                {"trusted.t", "trusted"},
                                                {"user.own", "3"}}));
}

TEST(Reader, GivesExtentsAcrossDevices) {
  const ReaderOf reader(test::rich_tree());

  EXPECT_EQ(reader->extents(reader->resolve("files/two-devices", false).value()).value(),
            (std::vector<Extent>{{0, 8, 4, 1}, {4, 40, 4, 2}}));
  EXPECT_TRUE(reader->extents(reader->resolve("files/petabytes", false).value())->empty());
}

TEST(Reader, RefusesWhatIsNoImage) {
  const Buffer zeros(8192);
  Buffer image = write_image(test::empty_tree()).value();

  EXPECT_FALSE(Reader::open({}));
  EXPECT_FALSE(Reader::open(zeros));
  EXPECT_FALSE(Reader::open(Bytes(image).first(4095)));
  image[2000] ^= std::byte{1};
  EXPECT_FALSE(Reader::open(image)) << "the checksum covers the first block";
}

TEST(Reader, LimitsHowManyInodesATreeMayHave) {
  const Buffer image = write_image(test::rich_tree()).value();

  EXPECT_EQ(read_tree(Reader::open(image).value(), 100).error().code, Code::kExhausted);
}

}  // namespace
}  // namespace runnel::erofs
