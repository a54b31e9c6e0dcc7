#include "remote/backoff.h"

#include <gtest/gtest.h>

namespace runnel::remote {
namespace {

using namespace std::chrono_literals;

TEST(Backoff, DoublesUpToItsLimit) {
  const Backoff backoff{.first_delay = 100ms, .longest_delay = 1s};

  EXPECT_EQ(backoff.delay(1, 1.0), Duration(100ms));
  EXPECT_EQ(backoff.delay(2, 1.0), Duration(200ms));
  EXPECT_EQ(backoff.delay(4, 1.0), Duration(800ms));
  EXPECT_EQ(backoff.delay(5, 1.0), Duration(1s));
  EXPECT_EQ(backoff.delay(1'000'000, 1.0), Duration(1s));
}

TEST(Backoff, JittersByHalf) {
  const Backoff backoff{.first_delay = 100ms, .longest_delay = 1s};

  EXPECT_EQ(backoff.delay(1, 0.0), Duration(50ms));
  EXPECT_EQ(backoff.delay(2, 0.5), Duration(150ms));
}

TEST(Backoff, TheSystemsRandomIsBetweenZeroAndOne) {
  const Random random = system_random();
  for (int i = 0; i < 1000; ++i) {
    const double value = random();
    EXPECT_GE(value, 0.0);
    EXPECT_LE(value, 1.0);
  }
}

}  // namespace
}  // namespace runnel::remote
