#include "registry/readable_blobs.h"

#include <gtest/gtest.h>

#include <thread>

#include "meta/sqlite_store.h"
#include "registry/attributes.h"
#include "support/fake_clock.h"
#include "support/temp_dir.h"

namespace runnel::registry {
namespace {

class ReadableBlobsTest : public testing::Test {
 protected:
  std::unique_ptr<meta::MetadataStore> open() {
    return meta::SqliteStore::open(directory_.path() + "/db", clock_).value();
  }

  static Route route(const oci::Digest& digest, std::string_view repository = "team/app") {
    return {.kind = Route::Kind::kBlob,
            .repository = std::string(repository),
            .target = digest.to_string()};
  }
  int status(const Route& route) {
    const auto found = blobs_.find(route, std::chrono::steady_clock::now());
    return found ? 200 : found.error().status;
  }
  static void switch_reading(meta::MetadataStore& store, bool to) {
    const auto change = [to](Attributes& each) -> std::expected<void, Refusal> {
      each.set(Attribute::kRead, to);
      return {};
    };
    ASSERT_TRUE(change_attributes(store, "team/app", "*", change));
  }

  const oci::Digest digest_ = oci::Digest::of(as_bytes("a blob"));
  test::FakeClock clock_;
  test::TempDir directory_;
  const std::unique_ptr<meta::MetadataStore> store_ = open();
  const std::unique_ptr<meta::MetadataStore> other_process_ = open();
  ReadableBlobs blobs_{*store_};
};

TEST_F(ReadableBlobsTest, SaysTheSameOfABlobWheneverItIsAsked) {
  ASSERT_TRUE(store_->link_blob("team/app", digest_, 6));
  for (int i = 0; i < 3; ++i) {
    const auto found = blobs_.find(route(digest_), std::chrono::steady_clock::now());
    ASSERT_TRUE(found);
    EXPECT_EQ(found->digest, digest_);
    EXPECT_EQ(found->size, 6u);
  }
}

TEST_F(ReadableBlobsTest, RefusesWhatIsNotThereAndWhatIsNoDigest) {
  EXPECT_EQ(status(route(digest_)), 404);
  EXPECT_EQ(status({.kind = Route::Kind::kBlob, .repository = "team/app", .target = "v1"}), 400);
}

TEST_F(ReadableBlobsTest, DoesNotTakeARepositoryForAnother) {
  ASSERT_TRUE(store_->link_blob("team/app", digest_, 6));
  ASSERT_EQ(status(route(digest_)), 200);
  EXPECT_EQ(status(route(digest_, "team/ap")), 404);
  EXPECT_EQ(status(route(digest_, "team")), 404);
}

TEST_F(ReadableBlobsTest, DoesNotGiveToWhoMayNotKnow) {
  ASSERT_TRUE(store_->link_blob("team/app", digest_, 6));
  ASSERT_EQ(status(route(digest_)), 200);
  auto hidden = route(digest_);
  hidden.hidden = true;
  EXPECT_EQ(status(hidden), 404);
}

TEST_F(ReadableBlobsTest, SeesAtOnceWhatItsOwnOrAnotherProcessChanges) {
  for (auto* changing : {store_.get(), other_process_.get()}) {
    EXPECT_EQ(status(route(digest_)), 404);
    ASSERT_TRUE(changing->link_blob("team/app", digest_, 6));
    EXPECT_EQ(status(route(digest_)), 200);
    switch_reading(*changing, false);
    EXPECT_EQ(status(route(digest_)), 403);
    switch_reading(*changing, true);
    EXPECT_EQ(status(route(digest_)), 200);
    ASSERT_EQ(changing->unlink_blob("team/app", digest_), meta::UnlinkOutcome::kRemoved);
    EXPECT_EQ(status(route(digest_)), 404);
  }
}

TEST_F(ReadableBlobsTest, LetsOneLookServeWhatWasReceivedBeforeIt) {
  ASSERT_TRUE(store_->link_blob("team/app", digest_, 6));
  const auto status_of = [this](SteadyTime received_at) {
    const auto found = blobs_.find(route(digest_), received_at);
    return found ? 200 : found.error().status;
  };
  const auto before_the_look = std::chrono::steady_clock::now();
  ASSERT_EQ(status(route(digest_)), 200);
  switch_reading(*other_process_, false);
  // This one came before the change, so either answer is right; no look was made for it.
  EXPECT_EQ(status_of(before_the_look), 200);
  EXPECT_EQ(status_of(std::chrono::steady_clock::now()), 403);
  // After that look it knows, whenever the request came.
  EXPECT_EQ(status_of(before_the_look), 403);
}

TEST_F(ReadableBlobsTest, LooksForEachRequestOfWhichItIsNotKnownWhenItCame) {
  ASSERT_TRUE(store_->link_blob("team/app", digest_, 6));
  for (const bool readable : {false, true, false}) {
    switch_reading(*other_process_, readable);
    const auto found = blobs_.find(route(digest_), net::Request().received_at);
    EXPECT_EQ(found.has_value(), readable);
  }
}

TEST_F(ReadableBlobsTest, SeesInEachThreadWhatAnotherOneChanges) {
  ASSERT_TRUE(store_->link_blob("team/app", digest_, 6));
  for (int round = 0; round < 20; ++round) {
    switch_reading(*other_process_, round % 2 == 0);
    std::vector<std::jthread> threads;
    threads.reserve(4);
    for (int i = 0; i < 4; ++i)
      threads.emplace_back(
          [&] { EXPECT_EQ(status(route(digest_)), round % 2 == 0 ? 200 : 403) << round; });
  }
}

TEST_F(ReadableBlobsTest, FindsMoreBlobsThanItKeeps) {
  std::vector<oci::Digest> digests;
  digests.reserve(1100);
  for (int i = 0; i < 1100; ++i) {
    digests.push_back(oci::Digest::of(as_bytes(std::to_string(i))));
    ASSERT_TRUE(store_->link_blob("team/app", digests.back(), 1));
  }
  for (int round = 0; round < 2; ++round)
    for (const auto& digest : digests) ASSERT_EQ(status(route(digest)), 200);
}

}  // namespace
}  // namespace runnel::registry
