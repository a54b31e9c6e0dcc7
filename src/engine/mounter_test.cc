#include "engine/mounter.h"

#include <gtest/gtest.h>

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

}  // namespace
}  // namespace runnel::engine
