#include "node/letting_go.h"

#include <gtest/gtest.h>

#include <future>

#include "support/fake_clock.h"

namespace runnel::node {
namespace {

using std::chrono::hours;
using std::chrono::milliseconds;
using std::chrono::minutes;

const auto kOne = oci::Digest::parse("sha256:" + std::string(64, '1')).value();
const auto kTwo = oci::Digest::parse("sha256:" + std::string(64, '2')).value();

class LettingGoTest : public testing::Test {
 protected:
  test::FakeClock clock_;
  std::vector<oci::Digest> unused_;
  std::vector<oci::Digest> gone_;
  LettingGo<oci::Digest> letting_go_{
      clock_, hours(5), [this] { return unused_; },
      [this](const oci::Digest& manifest) { gone_.push_back(manifest); }};
};

TEST_F(LettingGoTest, LetsAnImageGoThatNobodyUsedForSoLong) {
  unused_ = {kOne};
  letting_go_.look();
  clock_.advance(hours(5) - minutes(1));
  letting_go_.look();
  EXPECT_TRUE(gone_.empty());
  clock_.advance(minutes(1));

  letting_go_.look();

  EXPECT_EQ(gone_, std::vector{kOne});
}

TEST_F(LettingGoTest, CountsFromTheLastUse) {
  unused_ = {kOne, kTwo};
  letting_go_.look();
  clock_.advance(hours(4));
  unused_ = {kTwo};
  letting_go_.look();
  unused_ = {kOne, kTwo};
  letting_go_.look();
  clock_.advance(hours(1));

  letting_go_.look();

  EXPECT_EQ(gone_, std::vector{kTwo});
}

TEST_F(LettingGoTest, CountsFromTheLastTimeThatItWasAskedFor) {
  unused_ = {kOne};
  letting_go_.look();
  clock_.advance(hours(4));
  letting_go_.wanted(kOne);
  letting_go_.look();
  clock_.advance(hours(4));

  letting_go_.look();

  EXPECT_TRUE(gone_.empty());
  clock_.advance(hours(1));
  letting_go_.look();
  EXPECT_EQ(gone_, std::vector{kOne});
}

TEST_F(LettingGoTest, TriesAgainWhatWouldNotGo) {
  unused_ = {kOne};
  letting_go_.look();
  clock_.advance(hours(5));
  letting_go_.look();
  ASSERT_EQ(gone_.size(), 1u);
  letting_go_.look();
  EXPECT_EQ(gone_.size(), 1u);
  clock_.advance(hours(5));

  letting_go_.look();

  EXPECT_EQ(gone_.size(), 2u);
}

TEST(LettingGo, LooksByItself) {
  test::FakeClock clock;
  std::promise<void> looked;
  std::once_flag once;

  LettingGo<oci::Digest> letting_go(
      clock, milliseconds(4),
      [&] {
        std::call_once(once, [&] { looked.set_value(); });
        return std::vector<oci::Digest>();
      },
      [](const oci::Digest&) {});
  letting_go.start();

  EXPECT_EQ(looked.get_future().wait_for(minutes(1)), std::future_status::ready);
}

}  // namespace
}  // namespace runnel::node
