#include "engine/watch.h"

#include <gtest/gtest.h>

namespace runnel::engine {
namespace {

using Verdict = Watch::Verdict;

// So many ticks without any sign of life, and what the last one said.
Verdict still(Watch& watch, SignsOfLife signs, int ticks) {
  auto verdict = Verdict::kFine;
  for (int i = 0; i < ticks; ++i) verdict = watch.tick(signs);
  return verdict;
}

// So many ticks in which the worker breathes and does not serve, and what the last one said.
Verdict breathing(Watch& watch, SignsOfLife& signs, int ticks) {
  auto verdict = Verdict::kFine;
  for (int i = 0; i < ticks; ++i) {
    signs.breaths += 2;
    verdict = watch.tick(signs);
  }
  return verdict;
}

TEST(Watch, IsPatientAsLongAsAReadMayTake) {
  Watch watch(10);
  watch.worker_started();
  EXPECT_EQ(watch.tick({.beats = 1, .breaths = 1}), Verdict::kFine);

  EXPECT_EQ(still(watch, {.beats = 1, .breaths = 1}, 10), Verdict::kFine);
  EXPECT_EQ(watch.tick({.beats = 2, .breaths = 1}), Verdict::kFine);
  EXPECT_EQ(still(watch, {.beats = 2, .breaths = 1}, 10), Verdict::kFine);
}

TEST(Watch, KillsASilentWorkerOnceAndThenRefusesForIt) {
  Watch watch(10);
  watch.worker_started();
  const SignsOfLife signs{.beats = 1, .breaths = 1};
  watch.tick(signs);

  EXPECT_EQ(still(watch, signs, 11), Verdict::kKill);
  EXPECT_EQ(still(watch, signs, 4), Verdict::kFine) << "another one may take over";
  EXPECT_EQ(still(watch, signs, 1), Verdict::kRefuse);
  EXPECT_EQ(still(watch, signs, 100), Verdict::kRefuse);
  EXPECT_EQ(watch.tick({.beats = 2, .breaths = 1}), Verdict::kFine);
}

TEST(Watch, KillsAWorkerThatBreathesButKeepsNoDeadlinesAnyMore) {
  Watch watch(10);
  watch.worker_started();
  SignsOfLife signs{.beats = 1};
  watch.tick(signs);

  EXPECT_EQ(breathing(watch, signs, 11), Verdict::kKill);
}

TEST(Watch, LetsAWorkerStartThatBreathes) {
  Watch watch(10);
  watch.worker_started();
  SignsOfLife signs;

  EXPECT_EQ(breathing(watch, signs, 15), Verdict::kFine);
  EXPECT_EQ(breathing(watch, signs, 1), Verdict::kRefuse) << "readers have waited long enough";
  EXPECT_EQ(breathing(watch, signs, 500), Verdict::kRefuse);
  ++signs.beats;
  EXPECT_EQ(watch.tick(signs), Verdict::kFine);
}

TEST(Watch, KillsAWorkerThatStandsStillBeforeItServes) {
  Watch watch(10);
  watch.worker_started();
  SignsOfLife signs;
  breathing(watch, signs, 3);

  EXPECT_EQ(still(watch, signs, 15), Verdict::kRefuse);
  EXPECT_EQ(still(watch, signs, 1), Verdict::kKill);
  EXPECT_EQ(still(watch, signs, 100), Verdict::kRefuse) << "once";

  watch.worker_started();
  EXPECT_EQ(still(watch, signs, 15), Verdict::kRefuse) << "the next one has as long";
  EXPECT_EQ(still(watch, signs, 1), Verdict::kKill);
}

TEST(Watch, GivesAStartingWorkerThePatienceOfALongTimeoutToo) {
  Watch watch(60);
  watch.worker_started();

  EXPECT_EQ(still(watch, {}, 60), Verdict::kFine);
  EXPECT_EQ(still(watch, {}, 1), Verdict::kKill);
}

TEST(Watch, KillsAWorkerThatBreathesAndNeverBeginsToServe) {
  Watch watch(10);
  watch.worker_started();
  SignsOfLife signs;

  EXPECT_EQ(breathing(watch, signs, 600), Verdict::kRefuse);
  EXPECT_EQ(breathing(watch, signs, 1), Verdict::kKill);
  EXPECT_EQ(breathing(watch, signs, 100), Verdict::kRefuse) << "once";
}

TEST(Watch, LetsAWorkerEndThatBreathesAndAnswersForItMeanwhile) {
  Watch watch(10);
  watch.worker_started();
  SignsOfLife signs{.beats = 1};
  watch.tick(signs);
  watch.worker_ends();

  EXPECT_EQ(breathing(watch, signs, 15), Verdict::kFine);
  EXPECT_EQ(breathing(watch, signs, 1), Verdict::kRefuse) << "readers have waited long enough";
  EXPECT_EQ(breathing(watch, signs, 1000), Verdict::kRefuse);
}

TEST(Watch, KillsAWorkerThatStandsStillInsteadOfEnding) {
  Watch watch(10);
  watch.worker_started();
  const SignsOfLife signs{.beats = 1, .breaths = 1};
  watch.tick(signs);
  still(watch, signs, 9);
  watch.worker_ends();

  EXPECT_EQ(still(watch, signs, 6), Verdict::kFine);
  EXPECT_EQ(still(watch, signs, 4), Verdict::kRefuse) << "its readers have waited since before";
  EXPECT_EQ(still(watch, signs, 1), Verdict::kKill);
  EXPECT_EQ(still(watch, signs, 100), Verdict::kRefuse) << "once";

  watch.worker_started();
  EXPECT_EQ(watch.tick({.beats = 2, .breaths = 1}), Verdict::kFine);
  EXPECT_EQ(still(watch, {.beats = 2, .breaths = 1}, 11), Verdict::kKill) << "the next one serves";
}

TEST(Watch, CountsOverWorkersThatDieBeforeTheyServe) {
  Watch watch(10);
  watch.worker_started();
  const SignsOfLife signs{.beats = 1, .breaths = 1};
  watch.tick(signs);
  auto verdict = Verdict::kFine;

  for (int i = 0; i < 16; ++i) {
    watch.worker_started();
    verdict = watch.tick(signs);
  }

  EXPECT_EQ(verdict, Verdict::kRefuse);
}

}  // namespace
}  // namespace runnel::engine
