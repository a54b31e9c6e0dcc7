#include "node/old_verdicts.h"

#include <gtest/gtest.h>

#include <algorithm>

namespace runnel::node {
namespace {

using std::chrono::seconds;

OldVerdict verdict(char digit, int at) {
  return {.image = oci::Digest::parse("sha256:" + std::string(64, digit)).value(),
          .decided = SteadyTime(seconds(at))};
}

TEST(OldVerdicts, StayWhileThereAreFew) {
  EXPECT_TRUE(verdicts_to_forget({}).empty());
  EXPECT_TRUE(verdicts_to_forget({verdict('1', 1), verdict('2', 2)}, 2).empty());
}

TEST(OldVerdicts, GoFromTheOldestOn) {
  auto gone = verdicts_to_forget(
      {verdict('4', 40), verdict('1', 10), verdict('5', 50), verdict('2', 20), verdict('3', 30)},
      3);

  std::ranges::sort(gone);
  EXPECT_EQ(gone, (std::vector{verdict('1', 0).image, verdict('2', 0).image}));
}

}  // namespace
}  // namespace runnel::node
