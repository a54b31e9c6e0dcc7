#include "node/idle_mounts.h"

#include <gtest/gtest.h>

#include "support/fake_clock.h"

namespace runnel::node {
namespace {

using std::chrono::minutes;

class IdleMountsTest : public testing::Test {
 protected:
  // Returns whether it was idle until now.
  bool use(const std::string& name) {
    bool was_idle = false;
    const auto target = mounts_.use(name, [&](bool idle) -> Result<std::string> {
      was_idle = idle;
      return "/" + name;
    });
    EXPECT_EQ(target.value(), "/" + name);
    return was_idle;
  }
  void grow_old(minutes by) {
    clock_.advance(by);
    mounts_.look();
  }

  test::FakeClock clock_;
  std::set<std::string> busy_;
  std::vector<std::string> unmounted_;
  std::vector<engine::WhenBusy> when_busy_;
  IdleMounts mounts_{clock_, minutes(5),
                     [this](const std::string& name, engine::WhenBusy when_busy) -> Result<void> {
                       when_busy_.push_back(when_busy);
                       if (busy_.contains(name)) return fail(Code::kConflict, "{} is busy", name);
                       unmounted_.push_back(name);
                       return {};
                     }};
};

TEST_F(IdleMountsTest, KeepsAMountThatSomebodyUses) {
  use("a");
  mounts_.look();

  grow_old(minutes(60));

  EXPECT_TRUE(unmounted_.empty());
}

TEST_F(IdleMountsTest, KeepsAnIdleMountForAWhile) {
  use("a");
  mounts_.idle("a");
  mounts_.look();
  grow_old(minutes(4));
  EXPECT_TRUE(unmounted_.empty());

  grow_old(minutes(1));

  EXPECT_EQ(unmounted_, std::vector<std::string>{"a"});
}

TEST_F(IdleMountsTest, KeepsOneThatIsUsedAgain) {
  mounts_.idle("a");
  mounts_.look();

  EXPECT_TRUE(use("a"));
  grow_old(minutes(60));

  EXPECT_TRUE(unmounted_.empty());
  EXPECT_FALSE(use("a"));
}

TEST_F(IdleMountsTest, StillHasOneIdleThatCouldNotBeUsed) {
  mounts_.idle("a");
  mounts_.look();

  const auto target = mounts_.use(
      "a", [](bool) -> Result<std::string> { return fail(Code::kUnavailable, "no mount"); });

  EXPECT_EQ(target.error().code, Code::kUnavailable);
  mounts_.look();
  grow_old(minutes(5));
  EXPECT_EQ(unmounted_, std::vector<std::string>{"a"});
}

TEST_F(IdleMountsTest, CountsFromTheEndOfTheLastUse) {
  mounts_.idle("a");
  mounts_.look();
  grow_old(minutes(4));
  use("a");
  mounts_.idle("a");

  grow_old(minutes(1));
  EXPECT_TRUE(unmounted_.empty());
  grow_old(minutes(5));

  EXPECT_EQ(unmounted_, std::vector<std::string>{"a"});
}

TEST_F(IdleMountsTest, TakesIdleOnesAwayAtOnceWhenAsked) {
  mounts_.idle("a");
  mounts_.idle("b");
  use("c");

  EXPECT_TRUE(mounts_.unmount_idle());

  EXPECT_EQ(unmounted_, (std::vector<std::string>{"a", "b"}));
  EXPECT_FALSE(mounts_.unmount_idle());
}

TEST_F(IdleMountsTest, AsksAgainForOneThatSomethingHoldsOnTo) {
  busy_ = {"a"};
  mounts_.idle("a");
  EXPECT_FALSE(mounts_.unmount_idle());
  busy_.clear();

  EXPECT_TRUE(mounts_.unmount_idle());

  EXPECT_EQ(unmounted_, std::vector<std::string>{"a"});
}

TEST_F(IdleMountsTest, HoldsNobodyUpForAnIdleOneThatIsBusy) {
  mounts_.idle("a");
  mounts_.look();
  grow_old(minutes(5));
  mounts_.idle("b");
  mounts_.unmount_idle();

  EXPECT_EQ(when_busy_, std::vector(2, engine::WhenBusy::kAnswer));
}

TEST_F(IdleMountsTest, GivesOneThatIsUsedAlreadyToAnother) {
  const auto find = [] { return std::optional<std::string>("/there"); };
  mounts_.look();
  EXPECT_EQ(mounts_.use_too("a", find), "/there");

  mounts_.idle("a");

  EXPECT_EQ(mounts_.use_too("a", find), std::nullopt) << "it may have to be made anew";
  EXPECT_TRUE(use("a"));
  EXPECT_EQ(mounts_.use_too("a", find), "/there");
}

TEST_F(IdleMountsTest, UnmountsAnyThatIsTold) {
  use("a");
  busy_ = {"b"};

  EXPECT_TRUE(mounts_.unmount("a"));

  EXPECT_EQ(unmounted_, std::vector<std::string>{"a"});
  EXPECT_EQ(mounts_.unmount("b").error().code, Code::kConflict);
}

// Its image may be forgotten by then: the layers would stay in the cache, and be filled, for ever.
TEST_F(IdleMountsTest, TriesAgainWhatCouldNotBeUnmountedWhenItWasTold) {
  busy_ = {"a"};
  use("a");
  EXPECT_EQ(mounts_.unmount("a").error().code, Code::kConflict);
  busy_.clear();

  mounts_.look();
  grow_old(minutes(5));

  EXPECT_EQ(unmounted_, std::vector<std::string>{"a"});
  EXPECT_FALSE(mounts_.unmount_idle()) << "once";
}

}  // namespace
}  // namespace runnel::node
