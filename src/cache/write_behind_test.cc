#include "cache/write_behind.h"

#include <gtest/gtest.h>

#include <optional>
#include <vector>

#include "support/fake_clock.h"

namespace runnel::cache {
namespace {

using std::chrono::seconds;

class CacheWriteBehind : public testing::Test {
 protected:
  void submit(int number, uint64_t bytes = 10) {
    behind_->submit(bytes, [this, number] { written_.push_back(number); });
  }
  // What the pool was given so far has been written; it takes no more.
  const std::vector<int>& written() {
    pool_.reset();
    return written_;
  }

  test::FakeClock clock_;
  std::vector<int> written_;  // by the pool's one thread
  std::optional<WorkerPool> pool_{std::in_place, 1};
  std::optional<WriteBehind> behind_{std::in_place, *pool_, clock_,
                                     WriteBehind::Limits{.longest = seconds(2), .most_bytes = 30}};
};

TEST_F(CacheWriteBehind, WritesWhatHasWaitedForItsTime) {
  submit(1);
  clock_.advance(seconds(1));
  submit(2);
  clock_.advance(seconds(1));

  behind_->expire(clock_.now());

  EXPECT_EQ(behind_->waiting_bytes(), 10u) << "the second has waited for one second";
  behind_.reset();
  EXPECT_EQ(written(), (std::vector{1, 2}));
}

TEST_F(CacheWriteBehind, WritesTheFirstWhenTooMuchWaits) {
  for (const int number : {1, 2, 3}) submit(number);
  EXPECT_EQ(behind_->waiting_bytes(), 30u);

  submit(4);
  EXPECT_EQ(behind_->waiting_bytes(), 30u);
  submit(5, 20);

  EXPECT_EQ(behind_->waiting_bytes(), 30u);
  behind_.reset();
  EXPECT_EQ(written(), (std::vector{1, 2, 3, 4, 5}));
}

TEST_F(CacheWriteBehind, DoesNotKeepWhatIsMoreThanMayWait) {
  submit(1, 31);

  EXPECT_EQ(behind_->waiting_bytes(), 0u);
}

TEST_F(CacheWriteBehind, WritesAllWhenItEnds) {
  submit(1);
  submit(2);

  behind_.reset();

  EXPECT_EQ(written(), (std::vector{1, 2}));
}

}  // namespace
}  // namespace runnel::cache
