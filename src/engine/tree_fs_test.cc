#include "engine/tree_fs.h"

#include <gtest/gtest.h>
#include <sys/stat.h>

#include <barrier>
#include <latch>

#include "base/durable.h"
#include "erofs/writer.h"
#include "support/fake_clock.h"
#include "support/fuse_kernel.h"
#include "support/temp_dir.h"

namespace runnel::engine {
namespace {

using std::chrono::seconds;

constexpr uint32_t kTree = 7;
constexpr auto kTimeout = seconds(60);
constexpr size_t kPoolThreads = 4;  // of FuseServer

std::shared_ptr<const ImageTree> tree_of_one_file(const test::TempDir& directory) {
  erofs::Tree tree;
  tree.inodes.resize(2);
  tree.devices = {{.blocks = 8, .tag = {}}};
  tree.inodes[0].mode = S_IFDIR | 0755;
  tree.inodes[0].entries = {{"file", 1}};
  tree.inodes[1].mode = S_IFREG | 0644;
  tree.inodes[1].size = erofs::kBlockSize;
  tree.inodes[1].extents = {{0, 3, 1, 1}};
  const auto path = directory.path() + "/metadata";
  EXPECT_TRUE(replace_file(path, erofs::write_image(tree).value()));
  return ImageTree::open(path, {oci::Digest::of(as_bytes("layer"))}).value();
}

class TreeFsTest : public testing::Test {
 protected:
  TreeFsTest() {
    nodes_.emplace(connection_);
    server_.emplace(connection_, clock_);
    trees_.emplace(connection_, *nodes_, *server_, clock_);
  }

  void advance(Duration duration) {
    clock_.advance(duration);
    connection_->expire(clock_.now());
  }
  // Until the server's pool has done what it was given.
  void settle() {
    const auto met = std::make_shared<std::barrier<>>(kPoolThreads + 1);
    for (size_t i = 0; i < kPoolThreads; ++i) server_->submit([met] { met->arrive_and_wait(); });
    met->arrive_and_wait();
  }
  size_t answers() {
    size_t count = 0;
    while (kernel_.answer()) ++count;
    return count;
  }

  const test::TempDir directory_;
  test::FakeClock clock_;
  test::FuseKernel kernel_{kTimeout, clock_};
  const std::shared_ptr<FuseConnection> connection_ = kernel_.connection;
  std::optional<NodeTable> nodes_;
  std::optional<TreeFs> trees_;
  std::optional<FuseServer> server_;  // last: its tasks use all of the above
};

// The pool is busy until the read's deadline has answered it; its slot goes to other requests then.
TEST_F(TreeFsTest, LeavesAReadAloneThatItsDeadlineHasAnswered) {
  const auto tree = tree_of_one_file(directory_);
  const uint64_t inode = tree->child(tree->node(0).value(), "file").value().nid;
  nodes_->add(kTree, tree);
  std::latch busy(1);
  for (size_t i = 0; i < kPoolThreads; ++i) server_->submit([&] { busy.wait(); });
  trees_->handle(kernel_.read(tree_node(kTree, inode)));
  advance(kTimeout);
  EXPECT_EQ(answers(), 1u);

  busy.count_down();
  settle();
  nodes_->expect_no_more();  // its layer never comes
  advance(kTimeout);

  EXPECT_EQ(answers(), 0u);
  EXPECT_EQ(connection_->counters().waiting, 0u);
  EXPECT_NE(kernel_.read(kTree).ticket.slot, kernel_.read(kTree).ticket.slot);
}

TEST_F(TreeFsTest, EndsAReadOnceWhoseLayerDoesNotCome) {
  const auto tree = tree_of_one_file(directory_);
  const uint64_t inode = tree->child(tree->node(0).value(), "file").value().nid;
  nodes_->add(kTree, tree);
  trees_->handle(kernel_.read(tree_node(kTree, inode)));
  settle();
  EXPECT_EQ(answers(), 0u);

  advance(kTimeout - seconds(1));
  EXPECT_EQ(answers(), 0u);
  advance(seconds(1));
  EXPECT_EQ(answers(), 1u);

  nodes_->expect_no_more();
  trees_->handle(kernel_.read(tree_node(kTree, inode)));
  settle();
  EXPECT_EQ(answers(), 1u) << "nothing can come any more";
  EXPECT_EQ(connection_->counters().errors, 2u);
}

}  // namespace
}  // namespace runnel::engine
