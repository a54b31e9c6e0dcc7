#include "base/processors.h"

#include <gtest/gtest.h>
#include <sched.h>

#include <thread>

namespace runnel {
namespace {

TEST(BaseProcessors, CountsThoseThatTheThreadMayRunOn) {
  unsigned confined = 0;
  std::thread([&] {
    cpu_set_t set;
    ASSERT_EQ(::sched_getaffinity(0, sizeof set, &set), 0);
    int first = 0;
    while (!CPU_ISSET(first, &set)) ++first;
    CPU_ZERO(&set);
    CPU_SET(first, &set);
    ASSERT_EQ(::sched_setaffinity(0, sizeof set, &set), 0);
    confined = usable_processors();
  }).join();

  EXPECT_EQ(confined, 1u);
  EXPECT_GE(usable_processors(), confined);
}

}  // namespace
}  // namespace runnel
