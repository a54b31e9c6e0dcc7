#include "cache/budget.h"

#include <gtest/gtest.h>

namespace runnel::cache {
namespace {

using State = Budget::State;

constexpr Limits kSmall{.max_bytes = 1000, .min_free = 500, .reserve = 100};

TEST(CacheBudget, TakesAFifthOfTheDiskAndLeavesAFifthWhenNothingIsSaid) {
  Budget budget(Limits{});

  budget.measured(uint64_t{10} << 30, uint64_t{5} << 30, 0);

  EXPECT_EQ(budget.status().max_bytes, uint64_t{2} << 30);
  EXPECT_EQ(budget.status().min_free, uint64_t{2} << 30);
  EXPECT_EQ(budget.status().reserve, uint64_t{512} << 20);
  EXPECT_EQ(budget.state(), State::kRoom);
}

TEST(CacheBudget, StopsFillingWhenItHasMoreThanItsShare) {
  Budget budget(kSmall);

  budget.measured(10'000, 5000, 1001);

  EXPECT_FALSE(budget.may_fill());
  EXPECT_EQ(budget.excess(), 1u);
  EXPECT_TRUE(budget.admit(300));
}

TEST(CacheBudget, StopsFillingWhenOthersNeedTheDisk) {
  Budget budget(kSmall);

  budget.measured(10'000, 450, 10);

  EXPECT_FALSE(budget.may_fill());
  EXPECT_EQ(budget.excess(), 50u);
  EXPECT_TRUE(budget.admit(300));
}

TEST(CacheBudget, LetsReadersInDownToTheReserve) {
  Budget budget(kSmall);
  budget.measured(10'000, 400, 10);

  EXPECT_TRUE(budget.admit(200));
  EXPECT_TRUE(budget.admit(100));
  EXPECT_FALSE(budget.admit(1));

  budget.measured(10'000, 100, 10);
  EXPECT_EQ(budget.state(), State::kFull);
  EXPECT_FALSE(budget.admit(1));
  EXPECT_EQ(budget.status().refused, 2u);

  budget.measured(10'000, 5000, 10);
  EXPECT_EQ(budget.state(), State::kRoom);
  EXPECT_TRUE(budget.admit(300));
}

TEST(CacheBudget, LetsWhatLiesAroundComeWhileReadersAreLeftAsMuchAsTheReserve) {
  Budget budget(kSmall);
  budget.measured(10'000, 400, 2000);  // no filling, for two reasons

  EXPECT_TRUE(budget.admit_ahead(150));
  EXPECT_FALSE(budget.admit_ahead(51));
  EXPECT_TRUE(budget.admit(120)) << "what lies around took a reader's share";
  EXPECT_FALSE(budget.admit_ahead(0));
  EXPECT_EQ(budget.status().refused, 0u) << "nobody waits for it";
}

}  // namespace
}  // namespace runnel::cache
