#include "registry/boot_schedule.h"

#include <gtest/gtest.h>

namespace runnel::registry {
namespace {

using namespace std::chrono_literals;

const SteadyTime kStart = SteadyTime() + 1000s;

BootSchedule::Image image(std::string_view name) {
  return {"team/app", oci::Digest::of(as_bytes(name))};
}

TEST(BootSchedule, GathersVotesForASecondAfterTheFirst) {
  BootSchedule schedule;
  EXPECT_EQ(schedule.next(), std::nullopt);
  schedule.voted(image("a"), kStart);
  schedule.voted(image("a"), kStart + 900ms);

  EXPECT_EQ(schedule.next(), kStart + 1s);
  EXPECT_EQ(schedule.take(kStart + 999ms), std::nullopt);
  EXPECT_EQ(schedule.take(kStart + 1s), image("a"));
  EXPECT_EQ(schedule.take(kStart + 1h), std::nullopt) << "once for both";
}

TEST(BootSchedule, MakesAnImageAnewAtMostOnceAMinute) {
  BootSchedule schedule;
  schedule.done(image("a"), kStart);

  schedule.voted(image("a"), kStart + 5s);
  schedule.voted(image("b"), kStart + 5s);

  EXPECT_EQ(schedule.next(), kStart + 6s);
  EXPECT_EQ(schedule.take(kStart + 6s), image("b")) << "it has no minute to wait for";
  EXPECT_EQ(schedule.next(), kStart + 60s);
  EXPECT_EQ(schedule.take(kStart + 59s), std::nullopt);
  EXPECT_EQ(schedule.take(kStart + 60s), image("a"));
}

TEST(BootSchedule, WaitsOutTheMinuteForVotesThatCameWhileTheBlobWasMade) {
  BootSchedule schedule;
  schedule.voted(image("a"), kStart);
  ASSERT_EQ(schedule.take(kStart + 1s), image("a"));

  schedule.voted(image("a"), kStart + 2s);
  schedule.done(image("a"), kStart + 4s);

  EXPECT_EQ(schedule.next(), kStart + 64s);
}

TEST(BootSchedule, LeavesAnImageAloneThatSomebodyIsAtAndNoOther) {
  BootSchedule schedule;
  schedule.voted(image("a"), kStart);
  ASSERT_EQ(schedule.take(kStart + 1s), image("a"));
  schedule.voted(image("a"), kStart + 1s);

  EXPECT_EQ(schedule.next(), std::nullopt);
  EXPECT_EQ(schedule.take(kStart + 10s), std::nullopt);
  schedule.voted(image("b"), kStart + 5s);
  EXPECT_EQ(schedule.next(), kStart + 6s);
  EXPECT_EQ(schedule.take(kStart + 6s), image("b"));

  schedule.done(image("a"), std::nullopt);
  EXPECT_EQ(schedule.next(), kStart + 2s) << "it was not made anew: no minute to wait for";
  EXPECT_EQ(schedule.take(kStart + 11s), image("a"));
}

TEST(BootSchedule, GathersForASecondAgainWhenTheMinuteIsOver) {
  BootSchedule schedule;
  schedule.done(image("a"), kStart);

  schedule.voted(image("a"), kStart + 61s);

  EXPECT_EQ(schedule.next(), kStart + 62s);
}

TEST(BootSchedule, TakesWhatWaitsLongestFirst) {
  BootSchedule schedule;
  for (const auto* name : {"c", "a", "b"})
    schedule.voted(image(name), kStart + std::chrono::milliseconds(name[0] == 'c' ? 0 : name[0]));

  EXPECT_EQ(schedule.take(kStart + 10s), image("c"));
  EXPECT_EQ(schedule.take(kStart + 10s), image("a"));
  EXPECT_EQ(schedule.take(kStart + 10s), image("b"));
}

TEST(BootSchedule, HoldsTenThousandImagesAndNoMore) {
  BootSchedule schedule;
  for (int i = 0; i < 10'000; ++i) schedule.voted(image(std::to_string(i)), kStart);

  schedule.voted(image("one more"), kStart - 10s);
  EXPECT_EQ(schedule.next(), kStart + 1s);

  ASSERT_TRUE(schedule.take(kStart + 1s));
  schedule.voted(image("one more"), kStart - 10s);
  EXPECT_EQ(schedule.next(), kStart - 9s);
}

TEST(BootSchedule, TakesOneAtATimeOfWhatAnEarlierProcessLeft) {
  BootSchedule schedule;
  schedule.left_over(image("a"), kStart);
  schedule.left_over(image("b"), kStart + 1ms);
  schedule.voted(image("c"), kStart + 2ms);
  EXPECT_EQ(schedule.left_overs(), 2u);

  EXPECT_EQ(schedule.take(kStart + 10s), image("a"));
  EXPECT_EQ(schedule.take(kStart + 10s), image("c")) << "a vote of now does not wait for them";
  EXPECT_EQ(schedule.take(kStart + 10s), std::nullopt);
  EXPECT_EQ(schedule.next(), std::nullopt);

  schedule.done(image("a"), kStart + 11s);
  EXPECT_EQ(schedule.take(kStart + 11s), image("b"));
  EXPECT_EQ(schedule.left_overs(), 0u);
}

TEST(BootSchedule, AVoteMakesWhatWasLeftAnImageLikeAnother) {
  BootSchedule schedule;
  schedule.left_over(image("a"), kStart);
  schedule.left_over(image("b"), kStart + 1ms);
  ASSERT_EQ(schedule.take(kStart + 1s), image("a"));

  schedule.voted(image("b"), kStart + 2s);

  EXPECT_EQ(schedule.left_overs(), 0u);
  EXPECT_EQ(schedule.take(kStart + 2s), image("b"));
}

TEST(BootSchedule, WhatWasLeftAndIsVotedForAlreadyIsNoLeftover) {
  BootSchedule schedule;
  schedule.voted(image("a"), kStart);
  schedule.left_over(image("a"), kStart + 5s);

  EXPECT_EQ(schedule.left_overs(), 0u);
  EXPECT_EQ(schedule.next(), kStart + 1s);
}

TEST(BootSchedule, AnImageThatWasMadeBeforeItWasTakenWaitsOutTheRestOfItsMinute) {
  BootSchedule schedule;
  schedule.left_over(image("a"), kStart);
  ASSERT_EQ(schedule.take(kStart + 1s), image("a"));

  schedule.done(image("a"), kStart - 20s);
  schedule.voted(image("a"), kStart + 1s);

  EXPECT_EQ(schedule.next(), kStart + 40s);
}

}  // namespace
}  // namespace runnel::registry
