#include "node/early_boots.h"

#include <gtest/gtest.h>

#include <condition_variable>
#include <deque>
#include <thread>

#include "support/fake_clock.h"

namespace runnel::node {
namespace {

using std::chrono::seconds;

oci::Digest digest(std::string_view name) {
  return oci::Digest::of(as_bytes(name));
}

WantedImage image(const std::string& name) {
  return {.host = "registry.example", .repository = name, .manifest = digest(name)};
}

artifact::BootHint hint(const std::string& name, const std::string& base = "base") {
  return {.blob = digest("boot of " + name), .size = 3, .head = 1, .base = digest(base)};
}

// A registry that keeps everybody waiting until it is opened.
class Gate {
 public:
  void open() {
    const std::lock_guard lock(mutex_);
    open_ = true;
    changed_.notify_all();
  }
  void wait() {
    std::unique_lock lock(mutex_);
    changed_.wait(lock, [this] { return open_; });
  }

 private:
  std::mutex mutex_;
  std::condition_variable changed_;
  bool open_ = false;
};

class EarlyBootsTest : public testing::Test {
 protected:
  ~EarlyBootsTest() override { gate_.open(); }

  void begin(const std::string& name, const std::string& base = "base") {
    early_.begin(image(name), hint(name, base), false);
  }
  BootDownload* take(const std::string& name) {
    taken_.push_back(early_.take(image(name), hint(name).blob, hint(name).size));
    return taken_.back().get();
  }

  struct Begun {
    std::string repository;
    bool known = false;
    bool operator==(const Begun&) const = default;
  };

  test::FakeClock clock_;
  Gate gate_;
  std::vector<Begun> begun_;
  std::vector<std::shared_ptr<BootDownload>> taken_;
  EarlyBoots early_{[this](const WantedImage& wanted, const artifact::BootHint&, bool known) {
                      begun_.push_back({wanted.repository, known});
                      return std::make_shared<BootDownload>(
                          wanted.repository, [this](auto consume) {
                            gate_.wait();
                            return consume(Buffer(3, std::byte{7}));
                          });
                    },
                    clock_};
};

TEST_F(EarlyBootsTest, AreUnderWayBeforeAnybodyTakesThem) {
  begin("app");
  gate_.open();

  auto* const download = take("app");

  ASSERT_NE(download, nullptr);
  EXPECT_EQ(download->take(3, std::chrono::steady_clock::now() + seconds(60)).value(),
            Buffer(3, std::byte{7}));
}

TEST_F(EarlyBootsTest, AreTakenOnce) {
  begin("app");

  EXPECT_NE(take("app"), nullptr);
  EXPECT_EQ(take("app"), nullptr);
  EXPECT_EQ(take("other"), nullptr);
}

TEST_F(EarlyBootsTest, BeginOnceForAnImageThatIsNamedTwice) {
  begin("app");
  begin("app");

  EXPECT_EQ(begun_.size(), 1u);
}

TEST_F(EarlyBootsTest, OfAnotherBlobThanTheArtifactsAreOfNoUse) {
  begin("app");
  EXPECT_EQ(early_.take(image("app"), digest("another"), 3), nullptr);
  begin("lib");
  EXPECT_EQ(early_.take(image("lib"), hint("lib").blob, 4), nullptr);

  EXPECT_EQ(take("app"), nullptr) << "it went with the first who asked";
}

TEST_F(EarlyBootsTest, ThatNobodyTookInTimeAreNotTaken) {
  begin("app");
  clock_.advance(EarlyBoots::kPatience + std::chrono::milliseconds(1));

  EXPECT_EQ(take("app"), nullptr);
}

TEST_F(EarlyBootsTest, AreNotMoreThanTheirLimit) {
  for (const auto* name : {"a", "b", "c"}) begin(name);

  EXPECT_EQ(begun_.size(), EarlyBoots::kMost);
  EXPECT_NE(take("a"), nullptr);
  begin("c");
  EXPECT_EQ(begun_.size(), EarlyBoots::kMost + 1);
}

TEST_F(EarlyBootsTest, ThatWereGivenUpCountUntilTheRegistryLetsThemGo) {
  for (const auto* name : {"a", "b"}) begin(name);
  for (const auto* name : {"a", "b"}) early_.give_up(image(name));

  begin("c");
  EXPECT_EQ(begun_.size(), EarlyBoots::kMost);

  gate_.open();
  while (begun_.size() == EarlyBoots::kMost) {
    begin("c");
    std::this_thread::yield();
  }
  EXPECT_NE(take("c"), nullptr);
}

TEST_F(EarlyBootsTest, ThatHaveABaseInCommonAreKnown) {
  begin("a", "base");
  begin("b", "base");

  EXPECT_EQ(begun_, (std::vector<Begun>{{"a", false}, {"b", true}}));
}

TEST_F(EarlyBootsTest, BringALayerUntilTheyAreTaken) {
  begin("a", "base");

  EXPECT_TRUE(early_.may_bring(digest("base")));
  EXPECT_FALSE(early_.may_bring(digest("other")));
  take("a");
  EXPECT_FALSE(early_.may_bring(digest("base")));
}

}  // namespace
}  // namespace runnel::node
