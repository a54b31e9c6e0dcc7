#include "registry/rate_limiter.h"

#include <gtest/gtest.h>

#include "support/fake_clock.h"

namespace runnel::registry {
namespace {

using std::chrono::seconds;

TEST(RateLimiter, AllowsAMinutesWorthAtOnceAndThenEvenly) {
  test::FakeClock clock;
  RateLimiter limiter(6, clock);
  for (int i = 0; i < 6; ++i) EXPECT_FALSE(limiter.take("a"));

  const auto wait = limiter.take("a");

  ASSERT_TRUE(wait);
  EXPECT_EQ(retry_after(*wait), "10");
  EXPECT_FALSE(limiter.take("b"));
  clock.advance(seconds(11));
  EXPECT_FALSE(limiter.take("a"));
  EXPECT_TRUE(limiter.take("a"));
  clock.advance(seconds(3600));
  for (int i = 0; i < 6; ++i) EXPECT_FALSE(limiter.take("a"));
  EXPECT_TRUE(limiter.take("a"));
}

TEST(RateLimiter, LooksWithoutTaking) {
  test::FakeClock clock;
  RateLimiter limiter(1, clock);

  for (int i = 0; i < 3; ++i) EXPECT_FALSE(limiter.wait("a"));
  EXPECT_FALSE(limiter.take("a"));
  EXPECT_TRUE(limiter.wait("a"));
}

TEST(RateLimiter, LimitsNothingWhenToldSo) {
  test::FakeClock clock;
  RateLimiter limiter(0, clock);
  for (int i = 0; i < 1000; ++i) EXPECT_FALSE(limiter.take("a"));
}

TEST(RateLimiter, ForgetsWhenTooManyCome) {
  test::FakeClock clock;
  RateLimiter limiter(1, clock);
  for (int i = 0; i < 50'000; ++i) EXPECT_FALSE(limiter.take(std::to_string(i)));
}

TEST(RateLimiter, NeverSaysToComeBackAtOnce) {
  EXPECT_EQ(retry_after(std::chrono::milliseconds(1)), "1");
  EXPECT_EQ(retry_after(std::chrono::milliseconds(1001)), "2");
}

}  // namespace
}  // namespace runnel::registry
