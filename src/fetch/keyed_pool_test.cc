#include "fetch/keyed_pool.h"

#include <gtest/gtest.h>

#include <atomic>
#include <future>

namespace runnel::fetch {
namespace {

TEST(KeyedPool, RunsEveryTaskBeforeItEnds) {
  std::atomic<int> sum{0};
  {
    KeyedPool pool(3, 1);
    for (int i = 1; i <= 100; ++i) pool.submit(i % 2 == 0 ? "a" : "b", [&sum, i] { sum += i; });
  }
  EXPECT_EQ(sum, 5050);
}

TEST(KeyedPool, RunsTheTasksOfOneWhileAnothersWaitForEver) {
  std::promise<void> never;
  const auto waits = never.get_future().share();
  KeyedPool pool(3, 2);
  for (int i = 0; i < 10; ++i) pool.submit("slow", [waits] { waits.wait(); });

  std::promise<void> ran;
  pool.submit("quick", [&ran] { ran.set_value(); });

  ran.get_future().wait();
  never.set_value();
}

TEST(KeyedPool, RunsNoMoreOfOneAtATimeThanItMay) {
  std::atomic<int> running{0};
  std::atomic<int> most{0};
  {
    KeyedPool pool(4, 2);
    for (int i = 0; i < 200; ++i) {
      pool.submit("a", [&] {
        const int now = ++running;
        for (int seen = most; seen < now && !most.compare_exchange_weak(seen, now);) continue;
        std::this_thread::yield();
        --running;
      });
    }
  }
  EXPECT_LE(most, 2);
}

TEST(KeyedPool, LetsATaskSubmitATask) {
  std::atomic<int> ran{0};
  {
    KeyedPool pool(2, 1);
    pool.submit("a", [&] {
      ++ran;
      pool.submit("a", [&] { ++ran; });
    });
  }
  EXPECT_EQ(ran, 2);
}

}  // namespace
}  // namespace runnel::fetch
