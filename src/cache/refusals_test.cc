#include "cache/refusals.h"

#include <gtest/gtest.h>

namespace runnel::cache {
namespace {

using std::chrono::milliseconds;
using std::chrono::seconds;

class RefusalsOfASource : public testing::Test {
 protected:
  // Until when it rests, and goes on to that time.
  Duration refuse() {
    refusals_.refused(now_);
    const auto begin = now_;
    while (refusals_.rests(now_)) now_ += milliseconds(500);
    return now_ - begin;
  }

  SteadyTime now_{std::chrono::hours(1)};
  Refusals refusals_;
};

TEST_F(RefusalsOfASource, RestEachTimeTwiceAsLongAndAMinuteAtMost) {
  EXPECT_FALSE(refusals_.rests(now_));

  for (const int rest : {1, 2, 4, 8, 16, 32, 60, 60, 60}) EXPECT_EQ(refuse(), seconds(rest));
}

TEST_F(RefusalsOfASource, CountOnceWhenTheyComeTogether) {
  refusals_.refused(now_);
  refusals_.refused(now_);

  EXPECT_EQ(refuse(), seconds(1));
}

TEST_F(RefusalsOfASource, AreForgottenWhenTheyEnd) {
  for (int i = 0; i < 5; ++i) refuse();
  refusals_.refused(now_);

  refusals_.end();

  EXPECT_FALSE(refusals_.rests(now_));
  EXPECT_EQ(refuse(), seconds(1));
}

}  // namespace
}  // namespace runnel::cache
