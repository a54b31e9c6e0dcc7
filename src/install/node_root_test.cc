#include "install/node_root.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <linux/fs.h>
#include <sys/file.h>
#include <sys/ioctl.h>

#include <chrono>
#include <filesystem>
#include <future>

#include "base/durable.h"
#include "base/fd.h"
#include "support/temp_dir.h"

namespace runnel::install {
namespace {

namespace fs = std::filesystem;
using std::chrono::seconds;

class NodeRoot : public testing::Test {
 protected:
  void SetUp() override {
    for (const char* name :
         {"cache/layers", "devices", "images/x", "install", "mounts", "probe", "s/1/fs"})
      ASSERT_TRUE(make_directories(root_ + "/" + name));
    for (const char* name : {"node-id", "node-id.tmp.7.0", "logins.json", "snapshots.db",
                             "snapshots.db-wal", "snapshots.db-shm", "s/1/fs/file"})
      ASSERT_TRUE(replace_file(root_ + "/" + name, as_bytes("x")));
  }

  test::TempDir dir_;
  const std::string root_ = dir_.path() + "/root";
};

TEST_F(NodeRoot, IsRemovedWhenNothingElseIsInIt) {
  const auto left = remove_node_root(root_, seconds(0));

  ASSERT_TRUE(left) << left.error().message;
  EXPECT_EQ(*left, "");
  EXPECT_FALSE(fs::exists(root_));
}

TEST_F(NodeRoot, KeepsTheRegistrysDataThatIsBelowIt) {
  ASSERT_TRUE(make_directories(root_ + "/registry"));
  ASSERT_TRUE(replace_file(root_ + "/registry/blob", as_bytes("pushed")));

  const auto left = remove_node_root(root_, seconds(0));

  ASSERT_TRUE(left) << left.error().message;
  EXPECT_EQ(*left, "registry");
  EXPECT_TRUE(fs::exists(root_ + "/registry/blob"));
  EXPECT_EQ(std::distance(fs::directory_iterator(root_), fs::directory_iterator()), 1)
      << "the node's own are gone";
}

// As the node's holder has it: engine/root_lock.h.
UniqueFd locked(const std::string& root) {
  auto directory = open_file(root, O_RDONLY | O_DIRECTORY).value();
  EXPECT_EQ(::flock(directory.get(), LOCK_EX | LOCK_NB), 0);
  return directory;
}

TEST_F(NodeRoot, StaysWholeWhileItsNodeRuns) {
  const auto node = locked(root_);

  const auto refused = remove_node_root(root_, seconds(0));

  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().code, Code::kConflict);
  EXPECT_TRUE(refused.error().message.contains("still runs from " + root_));
  EXPECT_TRUE(fs::exists(root_ + "/s/1/fs/file"));
}

TEST_F(NodeRoot, IsRemovedWhenANodeThatIsEndingHasEnded) {
  auto node = locked(root_);
  auto removed =
      std::async(std::launch::async, [&] { return remove_node_root(root_, seconds(60)); });
  EXPECT_TRUE(fs::exists(root_ + "/node-id"));

  node.reset();

  EXPECT_EQ(removed.get(), "");
  EXPECT_FALSE(fs::exists(root_));
}

// A file system that is mounted there cannot be removed, for one.
TEST_F(NodeRoot, IsKnownAsANodesUntilAllElseIsGone) {
  const auto stuck = root_ + "/mounts/stuck";
  ASSERT_TRUE(make_directories(stuck));
  ASSERT_TRUE(replace_file(stuck + "/file", as_bytes("x")));
  const UniqueFd directory = open_file(stuck, O_RDONLY | O_DIRECTORY).value();
  const int immutable = FS_IMMUTABLE_FL;
  if (::ioctl(directory.get(), FS_IOC_SETFLAGS, &immutable) != 0)
    GTEST_SKIP() << "skipped: needs a file system with immutable files (chattr +i), and root";

  EXPECT_FALSE(remove_node_root(root_, seconds(0)));

  const int none = 0;
  ASSERT_EQ(::ioctl(directory.get(), FS_IOC_SETFLAGS, &none), 0);
  EXPECT_TRUE(fs::exists(root_ + "/node-id"));
  EXPECT_EQ(remove_node_root(root_, seconds(0)), "");
}

TEST_F(NodeRoot, MayBeGoneAlready) {
  EXPECT_EQ(remove_node_root(root_ + "/none", seconds(0)), "");
}

}  // namespace
}  // namespace runnel::install
