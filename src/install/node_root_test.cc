#include "install/node_root.h"

#include <gtest/gtest.h>

#include <filesystem>

#include "base/durable.h"
#include "support/temp_dir.h"

namespace runnel::install {
namespace {

namespace fs = std::filesystem;

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
  const auto left = remove_node_root(root_);

  ASSERT_TRUE(left) << left.error().message;
  EXPECT_EQ(*left, "");
  EXPECT_FALSE(fs::exists(root_));
}

TEST_F(NodeRoot, KeepsTheRegistrysDataThatIsBelowIt) {
  ASSERT_TRUE(make_directories(root_ + "/registry"));
  ASSERT_TRUE(replace_file(root_ + "/registry/blob", as_bytes("pushed")));

  const auto left = remove_node_root(root_);

  ASSERT_TRUE(left) << left.error().message;
  EXPECT_EQ(*left, "registry");
  EXPECT_TRUE(fs::exists(root_ + "/registry/blob"));
  EXPECT_EQ(std::distance(fs::directory_iterator(root_), fs::directory_iterator()), 1)
      << "the node's own are gone";
}

TEST_F(NodeRoot, MayBeGoneAlready) {
  EXPECT_EQ(remove_node_root(root_ + "/none"), "");
}

}  // namespace
}  // namespace runnel::install
