#include "node/merge_turn.h"

#include <gtest/gtest.h>

#include <future>
#include <utility>

#include "support/fake_clock.h"

namespace runnel::node {
namespace {

using std::chrono::seconds;

// What `f` returns on another thread: one that has the turn may not wait for it.
template <class F>
auto elsewhere(F f) {
  return std::async(std::launch::async, f).get();
}

bool never() {
  return false;
}

TEST(MergeTurn, IsOnesAtATime) {
  const test::FakeClock clock;
  MergeTurn turn(clock);
  auto held = turn.wait(never).value();
  std::promise<void> waits;
  auto next = std::async(std::launch::async, [&, said = false]() mutable {
    const auto got = turn.wait([&] {
      if (!std::exchange(said, true)) waits.set_value();
      return false;
    });
    return got.has_value();
  });

  waits.get_future().wait();
  held.unlock();

  EXPECT_TRUE(next.get());
}

TEST(MergeTurn, IsWaitedForForAMinute) {
  test::FakeClock clock;
  MergeTurn turn(clock);
  const auto held = turn.wait(never).value();
  int looks = 0;

  const auto code = elsewhere([&] {
    return turn
        .wait([&] {
          clock.advance(seconds(20));
          ++looks;
          return false;
        })
        .error()
        .code;
  });

  EXPECT_EQ(code, Code::kUnavailable);
  EXPECT_EQ(looks, 3);
}

TEST(MergeTurn, IsNotWaitedForWhenTheNodeStops) {
  const test::FakeClock clock;
  MergeTurn turn(clock);
  const auto held = turn.wait(never).value();

  EXPECT_EQ(elsewhere([&] { return turn.wait([] { return true; }).error().code; }),
            Code::kCancelled);
}

}  // namespace
}  // namespace runnel::node
