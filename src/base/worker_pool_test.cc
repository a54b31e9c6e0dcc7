#include "base/worker_pool.h"

#include <gtest/gtest.h>
#include <sched.h>

#include <atomic>
#include <future>

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

TEST(WorkerPool, RunsNothingThatComesAfterItsEnd) {
  std::atomic<int> sum{0};
  WorkerPool pool(3);
  for (int i = 1; i <= 100; ++i) pool.submit([&sum, i] { sum += i; });

  pool.finish();
  EXPECT_EQ(sum, 5050);
  pool.submit([&sum] { ++sum; });

  pool.finish();
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

TEST(WorkerPool, LeavesTheProcessorToWhoeverSubmitsWorkInBulk) {
  const auto policy_of = [](WorkerPool& pool) {
    std::promise<int> policy;
    pool.submit([&] { policy.set_value(::sched_getscheduler(0)); });
    return policy.get_future().get();
  };
  WorkerPool usual(1);
  WorkerPool bulk(1, WorkerPool::Work::kBulk);

  EXPECT_EQ(policy_of(bulk), SCHED_BATCH);
  EXPECT_EQ(policy_of(usual), ::sched_getscheduler(0));
}

}  // namespace
}  // namespace runnel
