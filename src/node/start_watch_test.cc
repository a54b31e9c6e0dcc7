#include "node/start_watch.h"

#include <gtest/gtest.h>

namespace runnel::node {
namespace {

using namespace std::chrono_literals;

const SteadyTime kMounted = SteadyTime() + 1000s;

oci::Digest image(std::string_view name) {
  return oci::Digest::of(as_bytes(name));
}

StartWatch::Start start(std::string_view name, Duration first, Duration last) {
  return {.image = image(name),
          .mounted = kMounted,
          .first_touch = kMounted + first,
          .last_touch = kMounted + last};
}

TEST(StartWatch, WaitsUntilNothingNewIsReadForTwoSeconds) {
  StartWatch watch;

  EXPECT_TRUE(watch.over({start("a", 1s, 3s)}, kMounted + 4s).empty());
  EXPECT_EQ(watch.over({start("a", 1s, 3s)}, kMounted + 5s), std::vector{image("a")});
}

TEST(StartWatch, EndsAStartThatGoesOnReadingAfterHalfAMinute) {
  StartWatch watch;

  EXPECT_TRUE(watch.over({start("a", 1s, 30s)}, kMounted + 30s).empty());
  EXPECT_EQ(watch.over({start("a", 1s, 31s)}, kMounted + 31s), std::vector{image("a")});
}

TEST(StartWatch, DoesNotBeginBeforeTheFirstRead) {
  StartWatch watch;

  EXPECT_TRUE(watch.over({{.image = image("a"), .mounted = kMounted}}, kMounted + 1h).empty());
}

TEST(StartWatch, NamesAStartOnce) {
  StartWatch watch;
  watch.over({start("a", 1s, 1s)}, kMounted + 10s);

  EXPECT_TRUE(watch.over({start("a", 1s, 11s)}, kMounted + 20s).empty());
}

TEST(StartWatch, NamesTheStartOfAnImageThatWasPulledAgain) {
  StartWatch watch;
  watch.over({start("a", 1s, 1s)}, kMounted + 10s);
  auto again = start("a", 100s, 100s);
  again.mounted += 90s;

  EXPECT_EQ(watch.over({again}, kMounted + 110s), std::vector{image("a")});
}

TEST(StartWatch, TriesAgainAfterAMinuteThreeTimesInAll) {
  StartWatch watch;
  const std::vector starts = {start("a", 1s, 1s)};
  auto now = kMounted + 10s;
  EXPECT_EQ(watch.over(starts, now).size(), 1u);
  for (int i = 0; i < 2; ++i) {
    watch.failed(image("a"), now);
    EXPECT_TRUE(watch.over(starts, now + 59s).empty());
    now += 60s;
    EXPECT_EQ(watch.over(starts, now).size(), 1u);
  }
  watch.failed(image("a"), now);

  EXPECT_TRUE(watch.over(starts, now + 1h).empty());
}

}  // namespace
}  // namespace runnel::node
