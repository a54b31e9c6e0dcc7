#include "engine/restarts.h"

#include <gtest/gtest.h>
#include <signal.h>

#include <vector>

namespace runnel::engine {
namespace {

constexpr int kKilled = 128 + SIGKILL;
constexpr int kGaveUp = 1;

// The pauses after so many that ended alike.
std::vector<int> pauses(Restarts& restarts, int times, int code, int64_t lived_ms) {
  std::vector<int> found;
  for (int i = 0; i < times; ++i) found.push_back(restarts.after(code, lived_ms).value());
  return found;
}

TEST(Restarts, AreThreeAtOnceAndThenAfterLongerAndLongerPauses) {
  Restarts restarts(false);

  EXPECT_EQ(pauses(restarts, 12, kKilled, 0),
            (std::vector{0, 0, 0, 50, 100, 200, 400, 800, 1600, 2000, 2000, 2000}));
  EXPECT_EQ(pauses(restarts, 100, kKilled, 0).back(), 2000) << "no longer for as long as it lasts";
}

TEST(Restarts, AreAtOnceAgainWhenAWorkerHasStartedWell) {
  for (const auto& [code, well_ms] : {std::pair{kKilled, 200}, std::pair{kGaveUp, 5000}}) {
    Restarts restarts(true);
    EXPECT_EQ(pauses(restarts, 4, code, well_ms - 1).back(), 50);

    EXPECT_EQ(restarts.after(code, well_ms), 0);

    EXPECT_EQ(pauses(restarts, 4, code, well_ms - 1), (std::vector{0, 0, 0, 50}));
  }
}

TEST(Restarts, AreNoneOfAWorkerThatCannotStart) {
  EXPECT_EQ(Restarts(false).after(kGaveUp, 4999), std::nullopt);
  EXPECT_EQ(Restarts(false).after(kGaveUp, 5000), 0);
}

TEST(Restarts, AreAsGoodForAWorkerThatSomebodyWaitsFor) {
  EXPECT_EQ(Restarts(true).after(kGaveUp, 0), 0) << "readers of an earlier holder's connection";
  Restarts restarts(false);
  EXPECT_EQ(restarts.after(kKilled, 0), 0) << "its being killed says nothing of its start";
  EXPECT_EQ(restarts.after(kGaveUp, 0), 0);
}

}  // namespace
}  // namespace runnel::engine
