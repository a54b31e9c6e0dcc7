#include "base/shares.h"

#include <gtest/gtest.h>

#include <vector>

namespace runnel {
namespace {

TEST(Shares, GiveAPartyItsShareAndLeaveTheOthersTheirs) {
  Shares shares(2, 3);
  const auto first = shares.take("a");
  auto second = shares.take("a");
  ASSERT_TRUE(first && second);

  EXPECT_FALSE(shares.take("a")) << "its share is out";
  EXPECT_TRUE(shares.take("b")) << "and was given back with the statement's end";
  const auto third = shares.take("b");
  EXPECT_FALSE(shares.take("c")) << "all are out";
  second.reset();
  EXPECT_TRUE(shares.take("c"));
  EXPECT_TRUE(shares.take("a"));
}

TEST(Shares, FollowAPlaceThatIsMoved) {
  Shares shares(1, 1);
  std::vector<Shares::Place> places;
  places.push_back(*shares.take("a"));
  EXPECT_FALSE(shares.take("a"));

  places.clear();

  EXPECT_TRUE(shares.take("a"));
}

}  // namespace
}  // namespace runnel
