// Whatever is written validates and reads back equal.
#include <gtest/gtest.h>

#include "erofs/reader.h"
#include "erofs/sample_trees.h"
#include "erofs/validator.h"
#include "erofs/writer.h"

namespace runnel::erofs {
namespace {

void expect_round_trip(const Tree& tree) {
  const auto image = write_image(tree);
  ASSERT_TRUE(image) << image.error().message;
  EXPECT_EQ(image->size(), image_size(tree).value());

  const auto summary = validate(*image);
  ASSERT_TRUE(summary) << summary.error().message;
  const auto read = read_tree(Reader::open(*image).value());
  ASSERT_TRUE(read) << read.error().message;

  EXPECT_EQ(summary->inodes, read->inodes.size());
  EXPECT_EQ(read->devices, tree.devices);
  EXPECT_EQ(test::describe(*read), test::describe(tree));
  EXPECT_EQ(test::describe_extents(*read), test::describe_extents(tree));
  EXPECT_EQ(write_image(*read).value(), *image) << "the image of an image is the same image";
}

TEST(RoundTrip, OfAnEmptyTree) {
  expect_round_trip(test::empty_tree());
}

TEST(RoundTrip, OfATreeWithoutDevices) {
  Tree tree = test::empty_tree();
  tree.devices.clear();
  test::add(tree, 0, "empty", test::file(0));
  test::add(tree, 0, "hole", test::file(1 << 20));

  expect_round_trip(tree);
}

TEST(RoundTrip, OfOneOfEverything) {
  expect_round_trip(test::rich_tree());
}

TEST(RoundTrip, OfRandomTrees) {
  for (uint32_t seed = 0; seed < 300; ++seed) {
    SCOPED_TRACE(seed);
    expect_round_trip(test::random_tree(seed));
    if (HasFatalFailure() || HasNonfatalFailure()) return;
  }
}

TEST(RoundTrip, OfDirectoriesOfEverySizeAroundABlock) {
  for (size_t last_name = 1; last_name <= 255; ++last_name) {
    Tree tree = test::empty_tree();
    const uint32_t directory = test::add(tree, 0, "d", test::directory());
    for (char c = 'a'; c < 'o'; ++c) {
      test::add(tree, directory, std::string(254, c), test::file(0));
    }
    test::add(tree, directory, std::string(last_name, 'z'), test::file(0));
    SCOPED_TRACE(last_name);
    expect_round_trip(tree);
    if (HasFatalFailure()) return;
  }
}

}  // namespace
}  // namespace runnel::erofs
