#include "base/wait_group.h"

#include <gtest/gtest.h>

#include <atomic>
#include <thread>
#include <vector>

namespace runnel {
namespace {

TEST(WaitGroup, DoesNotWaitForNothing) {
  WaitGroup group;
  group.wait();
}

TEST(WaitGroup, WaitsUntilTheLastOneHasLeft) {
  std::atomic<int> left{0};
  WaitGroup group;
  std::vector<std::thread> threads;
  for (int i = 0; i < 8; ++i) {
    group.enter();
    threads.emplace_back([&] {
      ++left;
      group.leave();
    });
  }

  group.wait();

  EXPECT_EQ(left, 8);
  for (auto& thread : threads) thread.join();
}

}  // namespace
}  // namespace runnel
