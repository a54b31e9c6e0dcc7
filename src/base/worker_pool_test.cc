#include "base/worker_pool.h"

#include <gtest/gtest.h>

#include <atomic>

namespace runnel {
namespace {

TEST(WorkerPool, RunsEveryTaskBeforeItEnds) {
  std::atomic<int> sum{0};
  {
    WorkerPool pool(3);
    for (int i = 1; i <= 100; ++i) pool.submit([&sum, i] { sum += i; });
  }
  EXPECT_EQ(sum, 5050);
}

TEST(WorkerPool, LetsATaskSubmitATask) {
  std::atomic<int> ran{0};
  {
    WorkerPool pool(1);
    pool.submit([&] {
      ++ran;
      pool.submit([&] { ++ran; });
    });
  }
  EXPECT_EQ(ran, 2);
}

}  // namespace
}  // namespace runnel
