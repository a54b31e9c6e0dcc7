#include "snapshot/tree.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include <filesystem>

#include "base/durable.h"
#include "base/fd.h"
#include "support/temp_dir.h"

namespace runnel::snapshot {
namespace {

namespace fs = std::filesystem;

// A chain of directories under `root`, each with one file.
void nest(const std::string& root, int depth, const std::string& name) {
  ASSERT_EQ(::mkdir(root.c_str(), 0755), 0);
  UniqueFd at = open_file(root, O_RDONLY | O_DIRECTORY).value();
  for (int i = 0; i < depth; ++i) {
    ASSERT_EQ(::mkdirat(at.get(), name.c_str(), 0755), 0);
    at = UniqueFd(::openat(at.get(), name.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
    ASSERT_TRUE(at);
    ASSERT_TRUE(UniqueFd(::openat(at.get(), "file", O_CREAT | O_WRONLY | O_CLOEXEC, 0600)));
  }
}

// Lowers the limit on descriptors while it lives.
class FewDescriptors {
 public:
  FewDescriptors() {
    ::getrlimit(RLIMIT_NOFILE, &before_);
    rlimit few = before_;
    few.rlim_cur = 64;
    ::setrlimit(RLIMIT_NOFILE, &few);
  }
  ~FewDescriptors() { ::setrlimit(RLIMIT_NOFILE, &before_); }

 private:
  rlimit before_{};
};

TEST(Tree, MeasuresAndRemovesDeeperThanPathsAndDescriptorsReach) {
  const test::TempDir dir;
  const auto root = dir.path() + "/deep";
  nest(root, 500, std::string(100, 'd'));
  const FewDescriptors few;

  EXPECT_EQ(disk_usage(root).value().inodes, 1001u);
  ASSERT_TRUE(remove_tree(root));

  EXPECT_FALSE(fs::exists(root));
}

TEST(Tree, CountsHardLinksOnceAndHolesNotAtAll) {
  const test::TempDir dir;
  const auto root = dir.path() + "/t";
  fs::create_directories(root + "/sub");
  ASSERT_TRUE(replace_file(root + "/file", Buffer(100'000, std::byte{1})));
  ASSERT_EQ(::link((root + "/file").c_str(), (root + "/sub/link").c_str()), 0);
  ASSERT_TRUE(replace_file(root + "/sparse", {}));
  ASSERT_EQ(::truncate((root + "/sparse").c_str(), 1'000'000'000), 0);

  const auto usage = disk_usage(root).value();

  EXPECT_EQ(usage.inodes, 4u);
  EXPECT_GE(usage.bytes, 100'000u);
  EXPECT_LT(usage.bytes, 1'000'000u);
}

TEST(Tree, NeverLeavesThroughALink) {
  const test::TempDir dir;
  ASSERT_TRUE(make_directories(dir.path() + "/outside"));
  ASSERT_TRUE(replace_file(dir.path() + "/outside/file", as_bytes("kept")));
  ASSERT_TRUE(make_directories(dir.path() + "/t"));
  fs::create_symlink(dir.path() + "/outside", dir.path() + "/t/link");
  fs::create_symlink(dir.path() + "/t", dir.path() + "/root-link");

  EXPECT_EQ(disk_usage(dir.path() + "/t").value().inodes, 2u);
  EXPECT_FALSE(remove_tree(dir.path() + "/root-link"));
  ASSERT_TRUE(remove_tree(dir.path() + "/t"));

  EXPECT_TRUE(fs::exists(dir.path() + "/outside/file"));
}

TEST(Tree, FindsNothingToMeasureOrRemoveWhereNothingIs) {
  const test::TempDir dir;

  EXPECT_EQ(disk_usage(dir.path() + "/absent").value(), Usage{});
  EXPECT_TRUE(remove_tree(dir.path() + "/absent"));
}

}  // namespace
}  // namespace runnel::snapshot
