#include "engine/mounter.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/mount.h>
#include <unistd.h>

#include "base/fd.h"
#include "support/temp_dir.h"

namespace runnel::engine {
namespace {

TEST(MountsBelow, FindsAMountAtTheDirectoryItself) {
  const auto proc = mounts_below("/proc").value();

  ASSERT_FALSE(proc.empty());
  EXPECT_EQ(proc[0].target, "/proc");
  EXPECT_EQ(proc[0].type, "proc");
  EXPECT_NE(proc[0].device.find(':'), std::string::npos);
}

TEST(MountsBelow, TakesNoNameThatOnlyBeginsAlike) {
  EXPECT_TRUE(mounts_below("/pro").value().empty());
}

TEST(IsMountPoint, KnowsAMountFromADirectoryAndFromNothing) {
  EXPECT_TRUE(is_mount_point("/proc").value());
  EXPECT_FALSE(is_mount_point("/proc/self").value());
  EXPECT_FALSE(is_mount_point("/proc/1/fdinfo").value());
  EXPECT_FALSE(is_mount_point("/absent/place").value());
}

TEST(IsMountPoint, LooksIntoTheTableWhereTheDirectoryCannotBeLookedAt) {
  EXPECT_FALSE(is_mount_point("/" + std::string(5000, 'a')).value());
}

TEST(UnmountImage, AnswersAtOnceThatSomethingIsInUseWhenItIsAskedTo) {
  if (::geteuid() != 0) GTEST_SKIP() << "needs root";
  const test::TempDir place;
  ASSERT_EQ(::mount("tmpfs", place.path().c_str(), "tmpfs", 0, nullptr), 0);
  const SystemClock clock;
  auto used = open_file(place.path(), O_RDONLY | O_DIRECTORY).value();

  const auto begin = clock.now();
  const auto busy = unmount_image(place.path(), std::chrono::minutes(10), WhenBusy::kAnswer);

  EXPECT_EQ(busy.error().code, Code::kConflict);
  EXPECT_LT(clock.now() - begin, std::chrono::minutes(1));
  EXPECT_EQ(unmount_image(place.path(), std::chrono::seconds(1)).error().code, Code::kConflict);
  used = {};
  EXPECT_TRUE(unmount_image(place.path(), std::chrono::minutes(1), WhenBusy::kAnswer));
  EXPECT_EQ(unmount_image(place.path(), std::chrono::minutes(1)).error().code, Code::kNotFound);
}

}  // namespace
}  // namespace runnel::engine
