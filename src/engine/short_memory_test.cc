#include "engine/short_memory.h"

#include <gtest/gtest.h>

#include <fstream>
#include <string>

namespace runnel::engine {
namespace {

TEST(ShortMemory, IsLessThanFourGibibytes) {
  EXPECT_TRUE(is_short(kShortMemory - 1));
  EXPECT_FALSE(is_short(kShortMemory));
  EXPECT_FALSE(is_short(0)) << "not known";
}

TEST(ShortMemory, IsJudgedByWhatTheKernelManages) {
  std::ifstream meminfo("/proc/meminfo");
  std::string name;
  uint64_t kib = 0;
  ASSERT_TRUE(meminfo >> name >> kib);
  ASSERT_EQ(name, "MemTotal:");

  EXPECT_EQ(memory_of_this_machine(), kib * 1024);
}

}  // namespace
}  // namespace runnel::engine
