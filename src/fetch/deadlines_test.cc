#include "fetch/deadlines.h"

#include <gtest/gtest.h>

namespace runnel::fetch {
namespace {

using std::chrono::seconds;

const SteadyTime kNow = SteadyTime() + seconds(1000);

TEST(FetchDeadlines, ForgetPiecesThatCameInTime) {
  Deadlines deadlines;
  const auto waits = std::make_shared<Piece>();
  deadlines.add(kNow + seconds(60), waits);

  for (int i = 0; i < 100'000; ++i)
    deadlines.add(kNow + seconds(60), std::make_shared<Piece>());  // and gone

  EXPECT_LE(deadlines.size(), Deadlines::kFew + 2);
  EXPECT_EQ(deadlines.take_due(kNow + seconds(60)), Pieces{waits});
}

TEST(FetchDeadlines, GiveWhatIsDueInItsOrder) {
  Deadlines deadlines;
  EXPECT_EQ(deadlines.next(), SteadyTime::max());
  const auto first = std::make_shared<Piece>();
  const auto second = std::make_shared<Piece>();
  const auto later = std::make_shared<Piece>();
  deadlines.add(kNow + seconds(3), later);
  deadlines.add(kNow + seconds(2), second);
  deadlines.add(kNow + seconds(1), first);
  EXPECT_EQ(deadlines.next(), kNow + seconds(1));

  EXPECT_EQ(deadlines.take_due(kNow + seconds(2)), (Pieces{first, second}));

  EXPECT_EQ(deadlines.next(), kNow + seconds(3));
  EXPECT_TRUE(deadlines.take_due(kNow + seconds(2)).empty());
}

}  // namespace
}  // namespace runnel::fetch
