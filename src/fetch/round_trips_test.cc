#include "fetch/round_trips.h"

#include <gtest/gtest.h>

namespace runnel::fetch {
namespace {

using std::chrono::milliseconds;

TEST(RoundTrips, AreNotKnownAtFirst) {
  EXPECT_EQ(RoundTrips().least(), Duration::zero());
}

TEST(RoundTrips, AreTheLeastOfTheLastSixteen) {
  RoundTrips trips;
  trips.add(milliseconds(2));
  for (int i = 0; i < 15; ++i) trips.add(milliseconds(20 + i));
  EXPECT_EQ(trips.least(), milliseconds(2));

  trips.add(milliseconds(30));

  EXPECT_EQ(trips.least(), milliseconds(20)) << "the way has become longer";
}

}  // namespace
}  // namespace runnel::fetch
