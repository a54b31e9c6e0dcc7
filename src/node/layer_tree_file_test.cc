#include "node/layer_tree_file.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include "base/durable.h"
#include "base/fd.h"
#include "convert/layer_converter.h"
#include "support/fake_range_source.h"
#include "support/tar_builder.h"
#include "support/temp_dir.h"

namespace runnel::node {
namespace {

using test::FakeRangeSource;

// A converted layer, its blob and its original.
class LayerTreeFile : public testing::Test {
 protected:
  LayerTreeFile() {
    tar_ = test::TarBuilder()
               .directory("etc/")
               .file("etc/hosts", std::string(5000, 'h'))
               .file("etc/.wh.old", "")
               .symlink("lib", "usr/lib")
               .end()
               .bytes();
    const auto fd = open_file(directory_.path() + "/blob", O_RDWR | O_CREAT).value();
    WorkerPool pool(1);
    convert::LayerConverter converter(fd.get(), pool, oci::Digest::of(tar_));
    EXPECT_TRUE(converter.feed(tar_));
    const auto converted = converter.finish().value();
    expected_ = artifact::serialize(converted.tree);
    record_.blob_size = converted.blob.size;
    record_.parts = converted.blob.parts;
    record_.device_blocks = converted.blob.device_blocks;
    Buffer blob(converted.blob.size);
    EXPECT_TRUE(read_exact_at(fd.get(), blob, 0));
    blob_ = std::make_shared<FakeRangeSource>(blob);
    original_ = std::make_shared<FakeRangeSource>(tar_);
  }

  TreeSources sources() const {
    return {.path = path_,
            .copies = {},
            .blob = blob_,
            .original = cache::Original{.name = "registry/app",
                                        .digest = oci::Digest::of(tar_),
                                        .diff_id = oci::Digest::of(tar_),
                                        .source = original_}};
  }
  void expect_right() {
    const auto tree = load_tree(record_, sources(), clock_);
    ASSERT_TRUE(tree) << tree.error().message;
    EXPECT_EQ(artifact::serialize(*tree), expected_);
  }

  test::TempDir directory_;
  const std::string path_ = directory_.path() + "/tree";
  SystemClock clock_;
  Buffer tar_;
  Buffer expected_;
  artifact::LayerRecord record_;
  std::shared_ptr<FakeRangeSource> blob_;
  std::shared_ptr<FakeRangeSource> original_;
};

TEST_F(LayerTreeFile, ComesFromTheBlobOnceAndIsKept) {
  expect_right();
  EXPECT_EQ(blob_->reads().size(), 1u);

  blob_->fail(Error(Code::kNotFound, "gone"));
  expect_right();

  EXPECT_EQ(blob_->reads().size(), 1u);
  EXPECT_TRUE(original_->reads().empty());
}

TEST_F(LayerTreeFile, ComesFromTheOriginalWhenTheBlobIsGoneOrWrong) {
  blob_->fail(Error(Code::kNotFound, "gone"), 1);
  expect_right();
  ASSERT_EQ(::unlink(path_.c_str()), 0);
  blob_->corrupt(1);
  expect_right();
  EXPECT_EQ(blob_->reads().size(), 2u);

  expect_right();

  EXPECT_EQ(blob_->reads().size(), 2u) << "it is kept";
}

TEST_F(LayerTreeFile, IsNotBelievedWhenTheFileIsDamaged) {
  expect_right();
  auto kept = read_file(path_, 1 << 20).value();
  kept[kept.size() / 2] ^= std::byte{1};
  ASSERT_TRUE(replace_file(path_, kept));

  expect_right();

  EXPECT_EQ(blob_->reads().size(), 2u);
}

TEST_F(LayerTreeFile, IsNotReadToTheEndWhenWhoWantsItGivesUp) {
  auto given_up = sources();
  given_up.goes_on = [] { return fail(Code::kCancelled, "the node stops"); };

  EXPECT_EQ(load_tree(record_, given_up, clock_).error().code, Code::kCancelled);
  EXPECT_TRUE(original_->reads().empty());

  given_up.goes_on = [] { return fail(Code::kUnavailable, "too late"); };
  EXPECT_EQ(load_tree(record_, given_up, clock_).error().code, Code::kUnavailable);
  EXPECT_EQ(original_->reads().size(), 1u);
  expect_right();
}

TEST_F(LayerTreeFile, IsKeptAheadOfUse) {
  ASSERT_TRUE(keep_tree(record_, sources(), clock_));
  ASSERT_TRUE(keep_tree(record_, sources(), clock_));
  EXPECT_EQ(blob_->reads().size(), 1u);

  blob_->fail(Error(Code::kNotFound, "gone"));
  expect_right();

  EXPECT_TRUE(original_->reads().empty());
}

TEST_F(LayerTreeFile, IsKeptOnlyWhenItIsRight) {
  blob_->corrupt(1);
  auto without_original = sources();
  without_original.original = std::nullopt;

  EXPECT_FALSE(keep_tree(record_, without_original, clock_));
  EXPECT_NE(::access(path_.c_str(), F_OK), 0);
}

TEST_F(LayerTreeFile, IsFetchedOnceWhenItMakesNoSense) {
  record_.device_blocks = 0;  // its extents lie past that

  for (int i = 0; i < 2; ++i) EXPECT_FALSE(load_tree(record_, sources(), clock_));

  EXPECT_EQ(blob_->reads().size(), 1u) << "another source would have the same";
  EXPECT_TRUE(original_->reads().empty());
}

TEST_F(LayerTreeFile, ComesFromAnotherImagesCopyAndIsKept) {
  expect_right();
  const auto copy = directory_.path() + "/copy";
  ASSERT_EQ(::rename(path_.c_str(), copy.c_str()), 0);
  auto with_copies = sources();
  with_copies.copies = {directory_.path() + "/none", copy};

  const auto tree = load_tree(record_, with_copies, clock_);

  ASSERT_TRUE(tree) << tree.error().message;
  EXPECT_EQ(artifact::serialize(*tree), expected_);
  EXPECT_EQ(blob_->reads().size(), 1u);
  EXPECT_TRUE(
      std::ranges::equal(read_file(path_, 1 << 20).value(), read_file(copy, 1 << 20).value()));
}

TEST_F(LayerTreeFile, ComesFromTheBlobWhenTheCopyIsDamaged) {
  const auto copy = directory_.path() + "/copy";
  ASSERT_TRUE(replace_file(copy, as_bytes("no tree")));
  auto with_copies = sources();
  with_copies.copies = {copy};

  const auto tree = load_tree(record_, with_copies, clock_);

  ASSERT_TRUE(tree) << tree.error().message;
  EXPECT_EQ(artifact::serialize(*tree), expected_);
  EXPECT_EQ(blob_->reads().size(), 1u);
}

TEST_F(LayerTreeFile, IsNotTakenFromAnotherLayer) {
  blob_->fail(Error(Code::kNotFound, "gone"));
  const auto other = test::TarBuilder().directory("etc/").end().bytes();
  auto wrong = sources();
  wrong.original->source = std::make_shared<FakeRangeSource>(other);
  wrong.original->diff_id = oci::Digest::of(other);

  const auto tree = load_tree(record_, wrong, clock_);

  ASSERT_FALSE(tree);
  EXPECT_NE(tree.error().message.find("its tree is not the artifact's"), std::string::npos);
  EXPECT_NE(::access(path_.c_str(), F_OK), 0);
}

}  // namespace
}  // namespace runnel::node
