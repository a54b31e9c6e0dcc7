#include "fetch/background_gate.h"

#include <gtest/gtest.h>

namespace runnel::fetch {
namespace {

constexpr size_t kMost = 6;
constexpr auto kQuiet = BackgroundGate::kQuiet;
constexpr auto kPatience = BackgroundGate::kPatience;
constexpr auto kTick = std::chrono::milliseconds(1);

class BackgroundGateTest : public testing::Test {
 protected:
  size_t allowed() const { return gate_.allowed(kMost, now_); }

  BackgroundGate gate_;
  SteadyTime now_ = SteadyTime() + std::chrono::hours(1);
};

TEST_F(BackgroundGateTest, IsOpenBeforeAnybodyWaits) {
  EXPECT_EQ(allowed(), kMost);
  gate_.note(false, now_);
  EXPECT_EQ(allowed(), kMost);
  EXPECT_EQ(gate_.next_change(now_), SteadyTime::max());
}

TEST_F(BackgroundGateTest, IsShutWhileSomebodyWaitsAndForAWhileAfter) {
  gate_.note(true, now_);
  EXPECT_EQ(allowed(), 0u);
  now_ += kTick;
  gate_.note(false, now_);
  EXPECT_EQ(gate_.next_change(now_), now_ + kQuiet);

  now_ += kQuiet - kTick;
  EXPECT_EQ(allowed(), 0u);
  now_ += kTick;
  EXPECT_EQ(allowed(), kMost);
  EXPECT_EQ(gate_.next_change(now_), SteadyTime::max());
}

TEST_F(BackgroundGateTest, StaysShutOverShortPauses) {
  for (int i = 0; i < 5; ++i) {
    gate_.note(true, now_);
    gate_.note(false, now_);
    now_ += kQuiet - kTick;
    EXPECT_EQ(allowed(), 0u);
  }
}

TEST_F(BackgroundGateTest, LetsOneThroughWhenThePauseDoesNotCome) {
  gate_.note(true, now_);
  EXPECT_EQ(gate_.next_change(now_), now_ + kPatience);
  now_ += kPatience - kTick;
  gate_.note(true, now_);
  EXPECT_EQ(allowed(), 0u);

  now_ += kTick;
  EXPECT_EQ(allowed(), 1u);
  EXPECT_EQ(gate_.next_change(now_), SteadyTime::max());
  gate_.note(false, now_);
  EXPECT_EQ(gate_.next_change(now_), now_ + kQuiet);
}

TEST_F(BackgroundGateTest, BeginsAnewAfterAPause) {
  gate_.note(true, now_);
  gate_.note(false, now_);
  now_ += kPatience;
  gate_.note(true, now_);

  EXPECT_EQ(allowed(), 0u);
  EXPECT_EQ(gate_.next_change(now_), now_ + kPatience);
}

}  // namespace
}  // namespace runnel::fetch
