#include "engine/root_lock.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cstdlib>
#include <filesystem>

#include "support/temp_dir.h"

namespace runnel::engine {
namespace {

class RootLockTest : public testing::Test {
 protected:
  ~RootLockTest() override { ::unsetenv("RUNNEL_ROOT_LOCK"); }

  // As a process that nobody handed a lock.
  Result<RootLock> take_as_another() const {
    ::unsetenv("RUNNEL_ROOT_LOCK");
    return RootLock::take(directory_.path());
  }

  const test::TempDir directory_;
};

TEST_F(RootLockTest, BelongsToOneProcess) {
  auto first = take_as_another();
  ASSERT_TRUE(first);

  const auto second = take_as_another();

  ASSERT_FALSE(second);
  EXPECT_EQ(second.error().code, Code::kConflict);
  EXPECT_EQ(second.error().message,
            directory_.path() + " is locked: another node process uses this root");
  EXPECT_TRUE(std::filesystem::is_empty(directory_.path()));
}

// For which a child stands that gets descriptors and environment as well.
TEST_F(RootLockTest, PassesToWhatThisProcessBecomes) {
  const auto first = take_as_another();
  ASSERT_TRUE(first);
  const int fd = std::stoi(std::getenv("RUNNEL_ROOT_LOCK"));
  EXPECT_EQ(::fcntl(fd, F_GETFD), 0) << "an exec would close it";

  const pid_t next = ::fork();
  if (next == 0) {
    const auto taken = RootLock::take(directory_.path());
    ::_exit(taken && std::stoi(std::getenv("RUNNEL_ROOT_LOCK")) == fd ? 0 : 1);
  }
  int status = -1;
  ASSERT_EQ(::waitpid(next, &status, 0), next);

  EXPECT_EQ(status, 0);
}

TEST_F(RootLockTest, IgnoresADescriptorOfSomethingElse) {
  for (const auto* text : {"0", "-1", "99999", "x", ""}) {
    ::setenv("RUNNEL_ROOT_LOCK", text, 1);
    EXPECT_TRUE(RootLock::take(directory_.path())) << text;
  }
}

TEST_F(RootLockTest, EndsWithItsHolderThoughAChildLives) {
  auto held = take_as_another();
  ASSERT_TRUE(held);
  int ends[2];
  ASSERT_EQ(::pipe2(ends, O_CLOEXEC), 0);
  int left[2];
  ASSERT_EQ(::pipe2(left, O_CLOEXEC), 0);
  const pid_t child = ::fork();
  if (child == 0) {
    held->close_in_child();
    ::close(ends[1]);
    char byte = 'x';
    (void)!::write(left[1], &byte, 1);
    (void)!::read(ends[0], &byte, 1);
    ::_exit(0);
  }
  char byte;
  ASSERT_EQ(::read(left[0], &byte, 1), 1);

  held = fail(Code::kCancelled, "this process ends");

  EXPECT_TRUE(take_as_another());
  ::close(ends[1]);
  ::waitpid(child, nullptr, 0);
  for (const int fd : {ends[0], left[0], left[1]}) ::close(fd);
}

}  // namespace
}  // namespace runnel::engine
