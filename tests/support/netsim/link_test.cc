#include "support/netsim/link.h"

#include <gtest/gtest.h>

namespace runnel::netsim {
namespace {

using std::chrono::microseconds;
using std::chrono::milliseconds;

constexpr uint64_t kGigabit = 125'000'000;
const SteadyTime kStart = SteadyTime{} + std::chrono::hours(1);

TEST(NetsimLink, DeliversAfterTheTimeOfTheBytesAndTheDelay) {
  Link link(kGigabit, milliseconds(1));

  EXPECT_EQ(link.send(125'000, kStart), kStart + milliseconds(1) + milliseconds(1));
}

TEST(NetsimLink, SendsOneAfterAnother) {
  Link link(kGigabit, milliseconds(1));
  link.send(125'000, kStart);

  EXPECT_EQ(link.send(125'000, kStart), kStart + milliseconds(3));
  EXPECT_EQ(link.free_at(), kStart + milliseconds(2));
}

TEST(NetsimLink, IsFreeAgainAfterAPause) {
  Link link(kGigabit, milliseconds(1));
  link.send(125'000, kStart);

  EXPECT_EQ(link.send(125, kStart + milliseconds(10)), kStart + milliseconds(11) + microseconds(1));
}

TEST(NetsimLink, LosesNoTimeWhenItsUserIsLate) {
  Link link(kGigabit, Duration::zero());

  // 100 pieces that were all ready at the start, whenever somebody got round to asking.
  SteadyTime last;
  for (int i = 0; i < 100; ++i) last = link.send(16'384, kStart);

  EXPECT_NEAR(std::chrono::duration<double>(last - kStart).count(), 100 * 16'384 / 125e6, 1e-6);
}

TEST(NetsimLink, WithoutARateOnlyDelays) {
  Link link(0, milliseconds(7));

  EXPECT_EQ(link.send(uint64_t{1} << 40, kStart), kStart + milliseconds(7));
}

}  // namespace
}  // namespace runnel::netsim
