#include "engine/pulse.h"

#include <gtest/gtest.h>
#include <sys/wait.h>
#include <unistd.h>

namespace runnel::engine {
namespace {

using Verdict = Watch::Verdict;

// So many ticks without a beat, and what the last one said.
Verdict quiet(Watch& watch, uint32_t beats, int ticks) {
  auto verdict = Verdict::kFine;
  for (int i = 0; i < ticks; ++i) verdict = watch.tick(beats);
  return verdict;
}

TEST(Watch, IsPatientAsLongAsAReadMayTake) {
  Watch watch(10);
  watch.worker_started();
  EXPECT_EQ(watch.tick(1), Verdict::kFine);

  EXPECT_EQ(quiet(watch, 1, 10), Verdict::kFine);
  EXPECT_EQ(watch.tick(2), Verdict::kFine);
  EXPECT_EQ(quiet(watch, 2, 10), Verdict::kFine);
}

TEST(Watch, KillsASilentWorkerOnceAndThenRefusesForIt) {
  Watch watch(10);
  watch.worker_started();
  watch.tick(1);

  EXPECT_EQ(quiet(watch, 1, 11), Verdict::kKill);
  EXPECT_EQ(quiet(watch, 1, 4), Verdict::kFine) << "another one may take over";
  EXPECT_EQ(quiet(watch, 1, 1), Verdict::kRefuse);
  EXPECT_EQ(quiet(watch, 1, 100), Verdict::kRefuse);
  EXPECT_EQ(watch.tick(2), Verdict::kFine);
}

TEST(Watch, DoesNotKillAWorkerThatIsStillStarting) {
  Watch watch(10);
  watch.worker_started();

  for (int i = 0; i < 15; ++i) EXPECT_EQ(watch.tick(0), Verdict::kFine);
  EXPECT_EQ(watch.tick(0), Verdict::kRefuse) << "readers have waited long enough all the same";
}

TEST(Watch, KillsAWorkerThatNeverBeginsToServe) {
  Watch watch(10);
  watch.worker_started();
  EXPECT_EQ(quiet(watch, 0, 600), Verdict::kRefuse);
  EXPECT_EQ(watch.tick(0), Verdict::kKill);
  EXPECT_EQ(quiet(watch, 0, 100), Verdict::kRefuse) << "once";

  watch.worker_started();
  EXPECT_EQ(quiet(watch, 0, 600), Verdict::kRefuse) << "the next one has as long";
}

TEST(Watch, CountsOverWorkersThatDieBeforeTheyServe) {
  Watch watch(10);
  watch.worker_started();
  watch.tick(1);
  auto verdict = Verdict::kFine;

  for (int i = 0; i < 16; ++i) {
    watch.worker_started();
    verdict = watch.tick(1);
  }

  EXPECT_EQ(verdict, Verdict::kRefuse);
}

TEST(Pulse, IsSeenAcrossProcesses) {
  auto pulse = Pulse::create();
  ASSERT_TRUE(pulse);
  const pid_t child = ::fork();
  if (child == 0) {
    auto own = Pulse::inherited();
    if (own) own->beat();
    ::_exit(own ? 0 : 1);
  }
  int status = 0;
  ASSERT_EQ(::waitpid(child, &status, 0), child);

  EXPECT_EQ(status, 0);
  EXPECT_EQ(pulse->beats(), 1u);
}

}  // namespace
}  // namespace runnel::engine
