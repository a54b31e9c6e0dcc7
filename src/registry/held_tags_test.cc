#include "registry/held_tags.h"

#include <gtest/gtest.h>

#include <functional>

#include "oci/document.h"
#include "oci/media_types.h"
#include "registry/new_manifest.h"
#include "support/fake_clock.h"
#include "support/memory_metadata_store.h"

namespace runnel::registry {
namespace {

constexpr auto kTime = std::chrono::seconds(30);
// More than what is done here asks of the store.
constexpr int kCalls = 12;

class HeldTagsTest : public testing::Test {
 protected:
  // Pushes a manifest; its digest.
  oci::Digest store(const std::string& note, const std::vector<std::string>& tags = {}) {
    return store_in(metadata_, note, tags);
  }
  // Pushes it with tags that wait for a time.
  oci::Digest hold(const std::string& note, const std::vector<std::string>& tags) {
    return store_in(metadata_, note, tags, kTime);
  }
  oci::Digest store_in(meta::MetadataStore& metadata, const std::string& note,
                       const std::vector<std::string>& tags, Duration time = {}) {
    oci::Manifest made;
    made.media_type = oci::kOciManifest;
    made.config.media_type = oci::kOciConfig;
    made.config.digest = oci::Digest::of(as_bytes("{}"));
    made.config.size = 2;
    made.annotations = {{"note", note}};
    const auto text = oci::to_json(made);
    auto manifest =
        new_manifest(as_bytes(text), oci::kOciManifest, oci::Algorithm::kSha256).value();
    manifest.blobs_required = false;
    manifest.tags = tags;
    if (time > Duration())
      hold_tags(manifest, "a", clock_.wall(), time);
    else
      manifest.replaces = held_for("a", tags);
    EXPECT_TRUE(metadata.put_manifest("a", manifest));
    return manifest.digest;
  }
  // Does the one in a process of its own, and the other just before the first one's call number
  // `at` of the store; or after it, when it makes fewer.
  void do_both(int at, const std::function<void(meta::MetadataStore&)>& one,
               const std::function<void()>& other) {
    int calls = 0;
    test::MemoryMetadataStore process(data_, clock_, [&] {
      if (calls++ == at) other();
    });
    one(process);
    if (calls <= at) other();
  }
  void release_in(meta::MetadataStore& metadata, const oci::Digest& digest) {
    EXPECT_TRUE(HeldTags(metadata, clock_, kPolicy).release("a", digest));
  }
  // What the tag points to; "" for nothing.
  std::string target(const std::string& tag) {
    const auto info = metadata_.manifest_info("a", tag).value();
    return info ? info->digest.to_string() : "";
  }

  static constexpr SoftDeletePolicy kPolicy{.enabled = false, .kept = {}, .updated = {}};

  test::FakeClock clock_;
  std::shared_ptr<test::MemoryMetadataStore::Data> data_ = test::MemoryMetadataStore::new_data();
  test::MemoryMetadataStore metadata_{data_, clock_};
  HeldTags held_{metadata_, clock_, kPolicy};
};

TEST_F(HeldTagsTest, LetsATagGoWhenItsManifestIsReady) {
  const auto digest = hold("one", {"v1", "latest"});
  const auto other = store("two");
  ASSERT_TRUE(held_.release_due());
  ASSERT_TRUE(held_.release("a", other));
  ASSERT_TRUE(held_.release("b", digest));
  EXPECT_EQ(target("v1"), "");

  ASSERT_TRUE(held_.release("a", digest));

  EXPECT_EQ(target("v1"), digest.to_string());
  EXPECT_EQ(target("latest"), digest.to_string());
}

TEST_F(HeldTagsTest, LetsATagGoWhenItsTimeIsOver) {
  const auto digest = hold("one", {"v1"});
  clock_.advance(kTime - std::chrono::milliseconds(1));
  ASSERT_TRUE(held_.release_due());
  EXPECT_EQ(target("v1"), "");

  clock_.advance(std::chrono::milliseconds(1));
  ASSERT_TRUE(held_.release_due());

  EXPECT_EQ(target("v1"), digest.to_string());
}

TEST_F(HeldTagsTest, LetsATagGoThoughTheClockWentBack) {
  const auto digest = hold("one", {"v1"});
  clock_.set_by(-kTime / 2);
  ASSERT_TRUE(held_.release_due());
  EXPECT_EQ(target("v1"), "");

  clock_.set_by(-kTime);
  ASSERT_TRUE(held_.release_due());

  EXPECT_EQ(target("v1"), digest.to_string());
}

TEST_F(HeldTagsTest, KnowsHowLongATagMayWaitThatAnOlderProgramHeld) {
  const auto digest = store("one");
  const auto hold_until = [&](Duration time) {
    const auto until = std::chrono::duration_cast<std::chrono::milliseconds>(
        (clock_.wall() + time).time_since_epoch());
    ASSERT_TRUE(metadata_.put_document("held-tag", fmt::format("a v1 {}", digest),
                                       std::to_string(until.count()), 0));
    ASSERT_TRUE(held_.release_due());
  };
  hold_until(std::chrono::hours(1));
  EXPECT_EQ(target("v1"), "");
  ASSERT_TRUE(metadata_.delete_document("held-tag", fmt::format("a v1 {}", digest)));

  hold_until(std::chrono::hours(3));

  EXPECT_EQ(target("v1"), digest.to_string());
}

TEST_F(HeldTagsTest, PointsATagToTheNewestThatWasPushed) {
  const auto first = hold("one", {"v1"});
  const auto second = hold("two", {"v1"});
  ASSERT_TRUE(held_.release("a", second));
  ASSERT_TRUE(held_.release("a", first));

  EXPECT_EQ(target("v1"), second.to_string());
}

TEST_F(HeldTagsTest, LeavesATagAloneThatSomebodyTook) {
  const auto held = hold("one", {"v1"});
  const auto pushed = store("two", {"v1"});

  ASSERT_TRUE(held_.release("a", held));

  EXPECT_EQ(target("v1"), pushed.to_string());
}

TEST_F(HeldTagsTest, ComesOverNoPushThatMeetsItsRelease) {
  const auto held = store("held");
  const auto pushed = store("pushed");
  for (int at = 0; at < kCalls; ++at) {
    const auto tag = fmt::format("v{}", at);
    hold("held", {tag});
    do_both(at, [&](auto& process) { release_in(process, held); }, [&] { store("pushed", {tag}); });
    EXPECT_EQ(target(tag), pushed.to_string()) << "pushed before the release's call " << at;

    hold("held", {tag});
    do_both(
        at, [&](auto& process) { store_in(process, "pushed", {tag}); },
        [&] { release_in(metadata_, held); });
    EXPECT_EQ(target(tag), pushed.to_string()) << "released before the push's call " << at;
  }
}

TEST_F(HeldTagsTest, BringsNoTagBackWhoseDeletionMeetsItsRelease) {
  const auto held = store("held");
  const auto delete_in = [](meta::MetadataStore& metadata, const std::string& tag) {
    EXPECT_TRUE(metadata.delete_tag("a", tag, meta::Undo::kNever, held_for("a", {tag})).value());
  };
  for (int at = 0; at < kCalls; ++at) {
    const auto tag = fmt::format("v{}", at);
    store("before", {tag});
    hold("held", {tag});
    do_both(
        at, [&](auto& process) { release_in(process, held); }, [&] { delete_in(metadata_, tag); });
    EXPECT_EQ(target(tag), "") << "deleted before the release's call " << at;

    store("before", {tag});
    hold("held", {tag});
    do_both(
        at, [&](auto& process) { delete_in(process, tag); }, [&] { release_in(metadata_, held); });
    EXPECT_EQ(target(tag), "") << "released before the deletion's call " << at;
  }
}

TEST_F(HeldTagsTest, BringsNoManifestBackWhoseDeletionMeetsItsRelease) {
  for (int at = 0; at < kCalls; ++at) {
    const auto held = hold(fmt::format("held {}", at), {"v1"});
    do_both(
        at, [&](auto& process) { release_in(process, held); },
        [&] { EXPECT_TRUE(metadata_.delete_manifest("a", held, meta::Undo::kPossible).value()); });
    EXPECT_EQ(target("v1"), "") << "deleted before the release's call " << at;
    EXPECT_EQ(metadata_.manifest_info("a", held).value(), std::nullopt) << at;
  }
}

TEST_F(HeldTagsTest, WaitsOnWhenAPushOverItIsRefused) {
  const auto held = hold("one", {"v1"});
  meta::NewManifest refused;
  refused.digest = oci::Digest::of(as_bytes("refused"));
  refused.blobs = {oci::Digest::of(as_bytes("absent"))};
  refused.tags = {"v1"};
  refused.replaces = held_for("a", refused.tags);
  ASSERT_FALSE(metadata_.put_manifest("a", refused)->missing.empty());
  hold_tags(refused, "a", clock_.wall(), kTime);
  ASSERT_FALSE(metadata_.put_manifest("a", refused)->missing.empty());

  ASSERT_TRUE(held_.release("a", held));

  EXPECT_EQ(target("v1"), held.to_string());
}

TEST_F(HeldTagsTest, WaitsOnceHoweverManyPushesMeet) {
  for (int at = 0; at < kCalls; ++at) {
    const auto tag = fmt::format("v{}", at);
    do_both(
        at, [&](auto& process) { store_in(process, "one", {tag}, kTime); },
        [&] { hold("two", {tag}); });
    EXPECT_EQ(metadata_.documents("held-tag", fmt::format("a {} ", tag), 10)->size(), 1u) << at;
    EXPECT_TRUE(metadata_.delete_tag("a", tag, meta::Undo::kNever, held_for("a", {tag})).value());
  }
}

TEST_F(HeldTagsTest, ForgetsATagWhoseManifestIsGone) {
  const auto digest = hold("one", {"v1"});
  ASSERT_TRUE(metadata_.delete_manifest("a", digest, meta::Undo::kNever).value());

  EXPECT_TRUE(held_.release("a", digest));

  EXPECT_EQ(target("v1"), "");
  EXPECT_TRUE(metadata_.documents("held-tag", "", 10)->empty());
}

TEST_F(HeldTagsTest, BringsNoTagThatWaitedBeforeItsManifestWasDeletedAndPushedAgain) {
  const auto digest = hold("one", {"v1"});
  const auto other = hold("two", {"v2"});
  ASSERT_TRUE(
      metadata_.delete_manifest("a", digest, meta::Undo::kPossible, held_for("a", digest)).value());
  ASSERT_EQ(hold("one", {"v3"}), digest);

  ASSERT_TRUE(held_.release("a", digest));
  ASSERT_TRUE(held_.release("a", other));

  EXPECT_EQ(target("v1"), "");
  EXPECT_EQ(target("v2"), other.to_string());
  EXPECT_EQ(target("v3"), digest.to_string());
}

TEST_F(HeldTagsTest, BringsNoTagThatWaitedInARepositoryThatWasDeleted) {
  const auto digest = hold("one", {"v1"});
  ASSERT_TRUE(metadata_.delete_repository("a", meta::Undo::kPossible, held_for("a")).value());
  ASSERT_EQ(hold("one", {"v3"}), digest);

  ASSERT_TRUE(held_.release("a", digest));

  EXPECT_EQ(target("v1"), "");
  EXPECT_EQ(target("v3"), digest.to_string());
}

TEST_F(HeldTagsTest, LooksThroughMoreThanAPage) {
  std::vector<std::string> tags;
  tags.reserve(250);
  for (int i = 0; i < 250; ++i) tags.push_back(fmt::format("v{}", i));
  const auto digest = hold("one", tags);
  clock_.advance(kTime);

  ASSERT_TRUE(held_.release_due());

  for (const auto& tag : tags) EXPECT_EQ(target(tag), digest.to_string()) << tag;
}

}  // namespace
}  // namespace runnel::registry
