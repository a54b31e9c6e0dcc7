#include "registry/held_tags.h"

#include <gtest/gtest.h>

#include "oci/document.h"
#include "oci/media_types.h"
#include "registry/new_manifest.h"
#include "support/fake_clock.h"
#include "support/memory_metadata_store.h"

namespace runnel::registry {
namespace {

constexpr auto kTime = std::chrono::seconds(30);

class HeldTagsTest : public testing::Test {
 protected:
  // Stores a manifest without tags; its digest.
  oci::Digest store(const std::string& note, const std::vector<std::string>& tags = {}) {
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
    EXPECT_TRUE(metadata_.put_manifest("a", manifest));
    return manifest.digest;
  }
  // What the tag points to; "" for nothing.
  std::string target(const std::string& tag) {
    const auto info = metadata_.manifest_info("a", tag).value();
    return info ? info->digest.to_string() : "";
  }

  test::FakeClock clock_;
  test::MemoryMetadataStore metadata_{test::MemoryMetadataStore::new_data(), clock_};
  HeldTags held_{metadata_, clock_, SoftDeletePolicy{.enabled = false, .kept = {}, .updated = {}}};
};

TEST_F(HeldTagsTest, LetsATagGoWhenItsManifestIsReady) {
  const auto digest = store("one");
  const auto other = store("two");
  ASSERT_TRUE(held_.hold("a", {"v1", "latest"}, digest, kTime));
  ASSERT_TRUE(held_.release_due());
  ASSERT_TRUE(held_.release("a", other));
  ASSERT_TRUE(held_.release("b", digest));
  EXPECT_EQ(target("v1"), "");

  ASSERT_TRUE(held_.release("a", digest));

  EXPECT_EQ(target("v1"), digest.to_string());
  EXPECT_EQ(target("latest"), digest.to_string());
}

TEST_F(HeldTagsTest, LetsATagGoWhenItsTimeIsOver) {
  const auto digest = store("one");
  ASSERT_TRUE(held_.hold("a", {"v1"}, digest, kTime));
  clock_.advance(kTime - std::chrono::milliseconds(1));
  ASSERT_TRUE(held_.release_due());
  EXPECT_EQ(target("v1"), "");

  clock_.advance(std::chrono::milliseconds(1));
  ASSERT_TRUE(held_.release_due());

  EXPECT_EQ(target("v1"), digest.to_string());
}

TEST_F(HeldTagsTest, PointsATagToTheNewestThatWasPushed) {
  const auto first = store("one");
  const auto second = store("two");
  ASSERT_TRUE(held_.hold("a", {"v1"}, first, kTime));
  ASSERT_TRUE(held_.hold("a", {"v1"}, second, kTime));
  ASSERT_TRUE(held_.release("a", second));
  ASSERT_TRUE(held_.release("a", first));

  EXPECT_EQ(target("v1"), second.to_string());
}

TEST_F(HeldTagsTest, LeavesATagAloneThatSomebodyTook) {
  const auto held = store("one");
  ASSERT_TRUE(held_.hold("a", {"v1"}, held, kTime));
  const auto pushed = store("two", {"v1"});
  ASSERT_TRUE(held_.forget("a", {"v1"}));

  ASSERT_TRUE(held_.release("a", held));

  EXPECT_EQ(target("v1"), pushed.to_string());
}

TEST_F(HeldTagsTest, ForgetsATagWhoseManifestIsGone) {
  const auto digest = store("one");
  ASSERT_TRUE(held_.hold("a", {"v1"}, digest, kTime));
  ASSERT_TRUE(metadata_.delete_manifest("a", digest, meta::Undo::kNever).value());

  EXPECT_TRUE(held_.release("a", digest));

  EXPECT_EQ(target("v1"), "");
  EXPECT_TRUE(metadata_.documents("held-tag", "", 10)->empty());
}

TEST_F(HeldTagsTest, LooksThroughMoreThanAPage) {
  const auto digest = store("one");
  std::vector<std::string> tags;
  tags.reserve(250);
  for (int i = 0; i < 250; ++i) tags.push_back(fmt::format("v{}", i));
  ASSERT_TRUE(held_.hold("a", tags, digest, kTime));
  clock_.advance(kTime);

  ASSERT_TRUE(held_.release_due());

  for (const auto& tag : tags) EXPECT_EQ(target(tag), digest.to_string()) << tag;
}

}  // namespace
}  // namespace runnel::registry
