#include "registry/referrers.h"

#include <gtest/gtest.h>

#include "meta/sqlite_store.h"
#include "oci/document.h"
#include "oci/media_types.h"
#include "registry/new_manifest.h"
#include "support/temp_dir.h"

namespace runnel::registry {
namespace {

class ReferrersTest : public testing::Test {
 protected:
  // Puts an artifact of this type; its digest.
  oci::Digest put_artifact(const std::string& type, bool with_subject = true,
                           const oci::Annotations& annotations = {}) {
    oci::Manifest manifest;
    manifest.media_type = oci::kOciManifest;
    manifest.artifact_type = type;
    manifest.config.media_type = oci::kOciEmpty;
    manifest.config.digest = oci::Digest::of(as_bytes("{}"));
    manifest.config.size = 2;
    manifest.annotations = annotations;
    if (with_subject) {
      manifest.subject.emplace();
      manifest.subject->media_type = oci::kOciManifest;
      manifest.subject->digest = subject_;
    }
    return put(oci::to_json(manifest), {});
  }

  oci::Digest put(const std::string& bytes, std::vector<std::string> tags) {
    auto made = new_manifest(as_bytes(bytes), "", oci::Algorithm::kSha256).value();
    made.blobs_required = false;
    made.tags = std::move(tags);
    EXPECT_TRUE(store_->put_manifest("a", made));
    return made.digest;
  }

  // An index behind the fallback tag, as clients keep it elsewhere.
  void put_fallback(const std::vector<std::pair<oci::Digest, std::string>>& entries) {
    oci::Index index;
    index.media_type = oci::kOciIndex;
    for (const auto& [digest, type] : entries) {
      auto& entry = index.manifests.emplace_back();
      entry.media_type = oci::kOciManifest;
      entry.digest = digest;
      entry.artifact_type = type;
    }
    put(oci::to_json(index), {"sha256-" + std::string(subject_.hex())});
  }

  static oci::Index index_of(const ReferrersPage& page) {
    return oci::parse_index(as_bytes(page.index), oci::kOciIndex).value();
  }

  static std::vector<oci::Digest> digests_of(const ReferrersPage& page) {
    std::vector<oci::Digest> digests;
    for (const auto& each : index_of(page).manifests) digests.push_back(each.digest);
    return digests;
  }

  static bool all(std::string_view /*digest*/) { return true; }

  ReferrersPage first_page(const meta::ArtifactTypes& types = {}) {
    return referrers_page(*store_, "a", subject_, types, std::nullopt, all).value();
  }

  const test::TempDir directory_;
  const SystemClock clock_;
  const std::unique_ptr<meta::SqliteStore> store_ =
      meta::SqliteStore::open(directory_.path() + "/metadata.sqlite", clock_).value();
  const oci::Digest subject_ = oci::Digest::of(as_bytes("subject"));
};

TEST_F(ReferrersTest, AreAnEmptyIndexForWhatNobodyRefersTo) {
  const auto page = first_page();

  EXPECT_TRUE(index_of(page).manifests.empty());
  EXPECT_EQ(index_of(page).media_type, oci::kOciIndex);
  EXPECT_FALSE(page.next);
}

// Whoever may push makes the index as long as they like, and each entry is looked up.
TEST_F(ReferrersTest, HaveTheLastEntriesOfALongFallbackIndexOnly) {
  const auto old = put_artifact("t", false, {{"n", "old"}});
  const auto newer = put_artifact("t", false, {{"n", "newer"}});
  std::vector<std::pair<oci::Digest, std::string>> entries(300, {old, "t"});
  entries.insert(entries.end(), 500, {newer, "t"});
  entries.insert(entries.end(), 100, {old, "another type"});
  put_fallback(entries);

  const auto page = digests_of(first_page({"t"}));

  EXPECT_EQ(page, std::vector(500, newer));
}

TEST_F(ReferrersTest, AreCutIntoPagesByTheirSize) {
  std::vector<oci::Digest> newest_first;
  for (int i = 0; i < 5; ++i)
    newest_first.insert(newest_first.begin(), put_artifact("t/" + std::to_string(i)));

  std::vector<oci::Digest> seen;
  std::optional<int64_t> before;
  int pages = 0;
  do {
    const auto page = referrers_page(*store_, "a", subject_, {}, before, all, 600).value();
    EXPECT_LE(page.index.size(), 800u);
    for (const auto& digest : digests_of(page)) seen.push_back(digest);
    before = page.next;
    ++pages;
  } while (before);

  EXPECT_EQ(seen, newest_first);
  EXPECT_GT(pages, 1);
}

TEST_F(ReferrersTest, LargerThanAPageComeOneByOne) {
  const oci::Annotations large = {{"a", std::string(2000, 'x')}};
  const auto one = put_artifact("t/1", true, large);
  const auto two = put_artifact("t/2", true, large);

  const auto first = referrers_page(*store_, "a", subject_, {}, std::nullopt, all, 100).value();
  ASSERT_TRUE(first.next);
  const auto second = referrers_page(*store_, "a", subject_, {}, first.next, all, 100).value();

  EXPECT_EQ(digests_of(first), std::vector{two});
  EXPECT_EQ(digests_of(second), std::vector{one});
  EXPECT_EQ(index_of(second).manifests[0].annotations, large);
  EXPECT_FALSE(second.next);
}

TEST_F(ReferrersTest, ThatAreNotListedLeaveTheirRoomInThePageToOthers) {
  const auto one = put_artifact("t/1");
  const auto two = put_artifact("t/2");
  const auto hidden = put_artifact("t/hidden");
  const auto is_listed = [&](std::string_view digest) { return digest != hidden.to_string(); };

  const auto page =
      referrers_page(*store_, "a", subject_, {}, std::nullopt, is_listed, 600).value();

  EXPECT_EQ(digests_of(page), (std::vector{two, one}));
  EXPECT_FALSE(page.next);
}

TEST_F(ReferrersTest, OfTheFallbackTagAreMerged) {
  const auto listed = put_artifact("t/listed");
  const auto unlisted = put_artifact("t/unlisted", false);
  put_fallback({{listed, "t/listed"},
                {unlisted, "t/unlisted"},
                {oci::Digest::of(as_bytes("not here")), "t/unlisted"}});

  EXPECT_EQ(digests_of(first_page()), (std::vector{unlisted, listed}));
  EXPECT_EQ(digests_of(first_page({"t/unlisted"})), std::vector{unlisted});
  EXPECT_EQ(digests_of(first_page({"t/listed"})), std::vector{listed});
}

TEST_F(ReferrersTest, OfTheFallbackTagOfALongDigestAreMerged) {
  const auto unlisted = put_artifact("t/unlisted", false);
  oci::Index index;
  index.media_type = oci::kOciIndex;
  auto& entry = index.manifests.emplace_back();
  entry.media_type = oci::kOciManifest;
  entry.digest = unlisted;
  const auto subject = oci::Digest::of(as_bytes("subject"), oci::Algorithm::kSha512);
  put(oci::to_json(index), {"sha512-" + std::string(subject.hex().substr(0, 64))});

  const auto page = referrers_page(*store_, "a", subject, {}, std::nullopt, all).value();

  EXPECT_EQ(digests_of(page), std::vector{unlisted});
}

TEST_F(ReferrersTest, AreNotDisturbedByAnotherManifestBehindTheFallbackTag) {
  const auto listed = put_artifact("t/listed");
  oci::Manifest manifest;
  manifest.media_type = oci::kOciManifest;
  manifest.config.media_type = "a/b";
  manifest.config.digest = oci::Digest::of({});
  put(oci::to_json(manifest), {"sha256-" + std::string(subject_.hex())});

  EXPECT_EQ(digests_of(first_page()), std::vector{listed});
}

}  // namespace
}  // namespace runnel::registry
