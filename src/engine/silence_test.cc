#include "engine/silence.h"

#include <gtest/gtest.h>

namespace runnel::engine {
namespace {

using cache::SourceSigns;
using std::chrono::seconds;

constexpr uint64_t kLayer = 7;
constexpr auto kTimeout = seconds(60);

SteadyTime at(double second) {
  return SteadyTime() + std::chrono::duration_cast<Duration>(std::chrono::hours(1)) +
         std::chrono::duration_cast<Duration>(std::chrono::duration<double>(second));
}

// Asked all the time; the last chunk came before anybody waited.
SourceSigns nothing_came() {
  return {.asked = at(0), .bytes = at(-1), .chunk = at(-1)};
}

TEST(Silence, GivesAReadItsWholeTimeUntilOneHasWaitedInVain) {
  Silence silence(kTimeout);
  EXPECT_FALSE(silence.until(kLayer, at(59), nothing_came()));
  EXPECT_TRUE(silence.failed(kLayer, at(0), at(60), nothing_came()));
  EXPECT_EQ(silence.until(kLayer, at(59), nothing_came()), at(62));
}

TEST(Silence, GivesWhatComesLaterTwoSecondsFromThere) {
  Silence silence(kTimeout);
  ASSERT_TRUE(silence.failed(kLayer, at(0), at(60), nothing_came()));
  EXPECT_EQ(silence.until(kLayer, at(75), nothing_came()), at(77));
}

TEST(Silence, GivesNoMoreThanAnEighthOfAShortTime) {
  Silence silence(seconds(2));
  ASSERT_TRUE(silence.failed(kLayer, at(0), at(2), nothing_came()));
  EXPECT_EQ(silence.until(kLayer, at(1), nothing_came()), at(2.25));
}

TEST(Silence, IsOverWithTheFirstChunk) {
  Silence silence(kTimeout);
  ASSERT_TRUE(silence.failed(kLayer, at(0), at(60), nothing_came()));
  auto signs = nothing_came();
  signs.bytes = signs.chunk = at(61);
  EXPECT_FALSE(silence.until(kLayer, at(59), signs));
  EXPECT_TRUE(silence.empty());
}

TEST(Silence, IsNoneWhenAChunkCameWhileTheReadWaited) {
  Silence silence(kTimeout);
  auto signs = nothing_came();
  signs.bytes = signs.chunk = at(1);
  EXPECT_FALSE(silence.failed(kLayer, at(0), at(60), signs));
  EXPECT_FALSE(silence.until(kLayer, at(59), signs));
}

TEST(Silence, WaitsHalfAReadsTimeForTheFirstChunkOfASlowLineAndOnlyOnce) {
  Silence silence(kTimeout);
  auto signs = nothing_came();
  signs.bytes = at(30);
  ASSERT_TRUE(silence.failed(kLayer, at(0), at(60), signs));
  EXPECT_EQ(silence.until(kLayer, at(59), signs), at(90));
  signs.bytes = at(95);  // it drips
  EXPECT_EQ(silence.until(kLayer, at(95), signs), at(97));
}

TEST(Silence, IsNotConcludedFromAReadThatWasRefusedSoon) {
  Silence silence(kTimeout);
  EXPECT_FALSE(silence.failed(kLayer, at(0), at(29), nothing_came()));
  EXPECT_TRUE(silence.empty());
}

TEST(Silence, IsNotConcludedWhereNothingWasAsked) {
  Silence silence(kTimeout);
  auto signs = nothing_came();
  signs.asked = at(-100);
  EXPECT_FALSE(silence.failed(kLayer, at(0), at(60), signs));
}

TEST(Silence, IsNotConcludedFromATimeBeforeTheLayerWasOpened) {
  Silence silence(kTimeout);
  const SourceSigns opened{.asked = at(50), .bytes = at(50), .chunk = at(50)};
  EXPECT_FALSE(silence.failed(kLayer, at(0), at(60), opened));
}

TEST(Silence, IsOfOneLayerAlone) {
  Silence silence(kTimeout);
  ASSERT_TRUE(silence.failed(kLayer, at(0), at(60), nothing_came()));
  EXPECT_FALSE(silence.until(kLayer + 1, at(61), nothing_came()));
}

TEST(Silence, IsForgottenAfterAReadsTimeWithoutAFailure) {
  Silence silence(kTimeout);
  ASSERT_TRUE(silence.failed(kLayer, at(0), at(60), nothing_came()));
  EXPECT_FALSE(silence.failed(kLayer, at(61), at(63), nothing_came()));
  EXPECT_FALSE(silence.failed(kLayer + 1, at(122), at(122.5), nothing_came()));
  EXPECT_FALSE(silence.empty());
  EXPECT_FALSE(silence.failed(kLayer + 1, at(123), at(124), nothing_came()));
  EXPECT_TRUE(silence.empty());
}

TEST(Silence, LetsAFetchTakeItsWholeTimeNowAndThen) {
  Silence silence(kTimeout);
  EXPECT_FALSE(silence.probe(kLayer, at(59)));
  ASSERT_TRUE(silence.failed(kLayer, at(0), at(60), nothing_came()));
  EXPECT_TRUE(silence.probe(kLayer, at(60)));
  EXPECT_FALSE(silence.probe(kLayer, at(74)));
  EXPECT_TRUE(silence.probe(kLayer, at(75)));
}

class OneByOne : public ::testing::Test {
 protected:
  OneByOne() {
    silence_.set_one_by_one(true);
    signs_.bytes = signs_.chunk = at(59);  // of another read
  }

  Silence silence_{kTimeout};
  SourceSigns signs_ = nothing_came();
};

TEST_F(OneByOne, GivesReadsLittleTimeAfterOneInVainAlthoughOthersGetTheirChunks) {
  EXPECT_FALSE(silence_.until(kLayer, at(59), signs_));
  EXPECT_TRUE(silence_.failed(kLayer, at(0), at(60), signs_));
  signs_.bytes = signs_.chunk = at(61);
  EXPECT_EQ(silence_.until(kLayer, at(61), signs_), at(63));
  EXPECT_FALSE(silence_.until(kLayer + 1, at(61), signs_)) << "another layer's reads have theirs";
}

TEST_F(OneByOne, GivesTheWholeTimeAgainATimeoutLaterHoweverManyFail) {
  ASSERT_TRUE(silence_.failed(kLayer, at(0), at(60), signs_));
  for (int second = 62; second < 120; second += 2) {
    EXPECT_FALSE(silence_.failed(kLayer, at(second - 2), at(second), signs_));
  }
  EXPECT_TRUE(silence_.until(kLayer, at(119), signs_));
  EXPECT_FALSE(silence_.until(kLayer, at(120), signs_));
}

TEST_F(OneByOne, HasDoneWithAHundredAndFiftyStalledReadsInTwoTimeouts) {
  ASSERT_TRUE(silence_.failed(kLayer, at(0), at(60), signs_));
  SteadyTime now = at(60);
  for (int read = 0; read < 150; ++read) {
    const auto until = silence_.until(kLayer, now, signs_);
    ASSERT_TRUE(until) << read;
    silence_.failed(kLayer, now, *until, signs_);
    now = *until;
  }
  EXPECT_LE(now, at(120));
}

}  // namespace
}  // namespace runnel::engine
