#include "snapshot/spare_directories.h"

#include <gtest/gtest.h>

#include <atomic>
#include <set>

namespace runnel::snapshot {
namespace {

using std::chrono::milliseconds;

class SpareDirectoriesTest : public testing::Test {
 protected:
  void open(milliseconds rest) {
    spare_.emplace(
        [this]() -> Result<int64_t> {
          const bool broken = broken_;  // before anybody learns that this was asked
          const int number = ++asked_;
          asked_.notify_all();
          if (broken) return fail(Code::kUnavailable, "no room");
          return number;
        },
        [this](int64_t number) { removed_.insert(number); },
        SpareDirectories::Options{.most = 2, .rest = rest});
  }
  void wait_for_made(int count) {
    for (int now = asked_; now < count; now = asked_) asked_.wait(now);
  }
  // Made is not yet kept; the next is asked for afterwards.
  int64_t take() {
    for (;;) {
      if (const auto number = spare_->take()) return *number;
      std::this_thread::yield();
    }
  }

  std::atomic<int> asked_ = 0;
  std::atomic<bool> broken_ = false;
  std::set<int64_t> removed_;
  std::optional<SpareDirectories> spare_;
};

TEST_F(SpareDirectoriesTest, AreMadeBeforeAnybodyWantsOne) {
  open(std::chrono::hours(1));  // so that none takes the place of one that is taken

  wait_for_made(2);

  EXPECT_EQ((std::set{take(), take()}), (std::set<int64_t>{1, 2}));
}

TEST_F(SpareDirectoriesTest, AreGivenOnceAndMadeAnew) {
  open(milliseconds(0));
  std::set<int64_t> taken;

  for (int i = 0; i < 20; ++i) EXPECT_TRUE(taken.insert(take()).second);

  EXPECT_GE(asked_, 20);
}

TEST_F(SpareDirectoriesTest, AreNotMadeWhileContainersStart) {
  open(std::chrono::hours(1));
  wait_for_made(1);
  take();
  while (spare_->take()) {
  }
  const int made = asked_;

  // Without the rest it is made within microseconds.
  const auto until = std::chrono::steady_clock::now() + milliseconds(50);
  while (std::chrono::steady_clock::now() < until) std::this_thread::yield();

  EXPECT_LE(asked_, made + 1) << "one may have been under way";
}

TEST_F(SpareDirectoriesTest, AreTriedAgainOnlyWhenTheNextIsWanted) {
  broken_ = true;
  open(milliseconds(0));
  wait_for_made(1);

  broken_ = false;
  take();

  EXPECT_GE(asked_, 2);
}

TEST_F(SpareDirectoriesTest, AreRemovedAtTheEndWhenNobodyTookThem) {
  open(milliseconds(0));
  wait_for_made(2);
  const int64_t mine = take();

  spare_.reset();

  EXPECT_FALSE(removed_.contains(mine));
  EXPECT_EQ(removed_.size(), static_cast<size_t>(asked_) - 1);
}

}  // namespace
}  // namespace runnel::snapshot
