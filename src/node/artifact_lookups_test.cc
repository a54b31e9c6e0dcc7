#include "node/artifact_lookups.h"

#include <gtest/gtest.h>

#include <atomic>
#include <latch>
#include <thread>

#include "support/fake_clock.h"

namespace runnel::node {
namespace {

using Found = ArtifactLookups::Found;

WantedImage image(const std::string& name) {
  return {
      .host = "registry.example", .repository = name, .manifest = oci::Digest::of(as_bytes(name))};
}

Found one() {
  return std::vector<convert::FoundArtifact>(1);
}

class ArtifactLookupsTest : public testing::Test {
 protected:
  test::FakeClock clock_;
  std::atomic<int> asked_ = 0;
  std::function<Found()> answer_ = one;
  ArtifactLookups lookups_{[this](const WantedImage&) {
                             ++asked_;
                             return answer_();
                           },
                           clock_};
};

TEST_F(ArtifactLookupsTest, AskOnceForWhatWasBegunAndTaken) {
  lookups_.begin(image("a"));
  lookups_.begin(image("a"));

  EXPECT_EQ(lookups_.take(image("a")).get()->size(), 1u);

  EXPECT_EQ(asked_, 1);
}

TEST_F(ArtifactLookupsTest, AskWhenNothingWasBegun) {
  lookups_.begin(image("another"));

  EXPECT_TRUE(lookups_.take(image("a")).get());
  EXPECT_TRUE(lookups_.take(image("another")).get());

  EXPECT_EQ(asked_, 2);
}

TEST_F(ArtifactLookupsTest, AreUnderWayBeforeAnybodyTakesThem) {
  std::latch called(1);
  answer_ = [&called] {
    called.count_down();
    return one();
  };

  lookups_.begin(image("a"));

  called.wait();
  EXPECT_TRUE(lookups_.take(image("a")).get());
  EXPECT_EQ(asked_, 1);
}

TEST_F(ArtifactLookupsTest, GiveAnAnswerOnce) {
  lookups_.begin(image("a"));
  EXPECT_TRUE(lookups_.take(image("a")).get());

  EXPECT_TRUE(lookups_.take(image("a")).get());

  EXPECT_EQ(asked_, 2) << "an artifact may have come between the two";
}

TEST_F(ArtifactLookupsTest, DoNotGiveAnAnswerThatIsOld) {
  lookups_.begin(image("a"));
  while (asked_ < 1) std::this_thread::yield();
  clock_.advance(ArtifactLookups::kFresh + std::chrono::milliseconds(1));

  EXPECT_TRUE(lookups_.take(image("a")).get());

  EXPECT_EQ(asked_, 2);
}

TEST_F(ArtifactLookupsTest, TakeThatThereIsNoneForAnAnswer) {
  answer_ = [] { return fail(Code::kNotFound, "no artifact"); };
  lookups_.begin(image("a"));

  EXPECT_EQ(lookups_.take(image("a")).get().error().code, Code::kNotFound);

  EXPECT_EQ(asked_, 1);
}

TEST_F(ArtifactLookupsTest, DoNotWaitTwiceForARegistryThatDoesNotAnswer) {
  answer_ = [] { return fail(Code::kUnavailable, "stalled"); };
  lookups_.begin(image("a"));

  EXPECT_EQ(lookups_.take(image("a")).get().error().code, Code::kUnavailable);

  EXPECT_EQ(asked_, 1);
}

TEST_F(ArtifactLookupsTest, KeepFewAnswersThatNobodyTakesAndNoneForLong) {
  const auto asked = [&](int count) {
    while (asked_ < count) std::this_thread::yield();
  };
  const int most = static_cast<int>(ArtifactLookups::kMost);
  for (int i = 0; i < most; ++i) {
    lookups_.begin(image(std::to_string(i)));
    asked(i + 1);
  }
  lookups_.begin(image("one more"));
  EXPECT_TRUE(lookups_.take(image("0")).get());
  EXPECT_TRUE(lookups_.take(image("one more")).get());
  EXPECT_EQ(asked_, most + 1);

  clock_.advance(ArtifactLookups::kFresh + std::chrono::milliseconds(1));
  lookups_.begin(image("later"));
  EXPECT_TRUE(lookups_.take(image("later")).get());
  EXPECT_EQ(asked_, most + 2);
}

TEST_F(ArtifactLookupsTest, AskAgainWhereTheEarlyOneWasRefused) {
  std::atomic<bool> known = false;
  answer_ = [&known]() -> Found {
    if (!known.exchange(true)) return fail(Code::kDenied, "no credentials yet");
    return one();
  };
  lookups_.begin(image("a"));

  EXPECT_TRUE(lookups_.take(image("a")).get());

  EXPECT_EQ(asked_, 2);
}

TEST_F(ArtifactLookupsTest, AreFewAtATime) {
  std::promise<void> go;
  answer_ = [gone = go.get_future().share()] {
    gone.wait();
    return one();
  };
  for (size_t i = 0; i <= ArtifactLookups::kMost; ++i) lookups_.begin(image(std::to_string(i)));

  auto last = lookups_.take(image(std::to_string(ArtifactLookups::kMost)));

  go.set_value();
  EXPECT_TRUE(last.get());
  EXPECT_TRUE(lookups_.take(image("0")).get());
  EXPECT_EQ(asked_, static_cast<int>(ArtifactLookups::kMost) + 1);
}

}  // namespace
}  // namespace runnel::node
