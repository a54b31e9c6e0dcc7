// What every MetadataStore must do. A driver's test instantiates the suite with a fixture:
//
//   INSTANTIATE_TEST_SUITE_P(Sqlite, MetadataStoreConformance, testing::Values(make_fixture));
#pragma once

#include <gtest/gtest.h>

#include <algorithm>
#include <functional>
#include <limits>
#include <memory>
#include <string>
#include <vector>

#include "meta/metadata_store.h"
#include "support/fake_clock.h"

namespace runnel::test {

class MetadataStoreFixture {
 public:
  virtual ~MetadataStoreFixture() = default;
  virtual meta::MetadataStore& store() = 0;
  // Another store on the same data, as a second process has.
  virtual std::unique_ptr<meta::MetadataStore> second() = 0;
  // As if the process had ended and started again.
  virtual void reopen() = 0;
  // The store's own.
  virtual FakeClock& clock() = 0;
};

using MakeMetadataStore = std::function<std::unique_ptr<MetadataStoreFixture>()>;

}  // namespace runnel::test

namespace runnel::meta {

class MetadataStoreConformance : public testing::TestWithParam<test::MakeMetadataStore> {
 protected:
  static constexpr int64_t kFirstPage = std::numeric_limits<int64_t>::max();
  using Names = std::vector<std::string>;
  // For finish_upload: the blob is there.
  static Result<bool> is_stored() { return true; }

  MetadataStore& store() { return fixture_->store(); }
  test::MetadataStoreFixture& fixture() { return *fixture_; }

  static oci::Digest digest(std::string_view text) { return oci::Digest::of(as_bytes(text)); }

  // A manifest whose bytes are `text`; the text must outlive it.
  static NewManifest manifest(std::string_view text, Names tags = {}) {
    NewManifest made;
    made.digest = digest(text);
    made.media_type = "application/x";
    made.bytes = as_bytes(text);
    made.descriptor.media_type = "application/x";
    made.descriptor.digest = made.digest;
    made.descriptor.size = text.size();
    made.tags = std::move(tags);
    return made;
  }

  static NewManifest referrer(std::string_view text, std::string_view subject,
                              const std::string& type) {
    auto made = manifest(text);
    made.subject = digest(subject);
    made.descriptor.artifact_type = type;
    made.descriptor.annotations = {{"text", std::string(text)}};
    return made;
  }

  // Stores it; it must be acceptable.
  bool put(std::string_view repository, const NewManifest& made) {
    const auto outcome = store().put_manifest(repository, made);
    EXPECT_TRUE(outcome && outcome->missing.empty());
    return outcome && outcome->created;
  }

  // The bytes behind a name, or "absent".
  std::string bytes_of(std::string_view repository, const ManifestName& name) {
    const auto found = store().manifest(repository, name).value();
    return found ? found->bytes : "absent";
  }

  // Of the documents of a kind.
  Names names_of(std::string_view kind) {
    Names names;
    for (auto& each : store().documents(kind, "", 100).value())
      names.push_back(std::move(each.name));
    return names;
  }

  Upload upload(std::string id, std::string repository, int64_t expires_s = 1000) {
    Upload made;
    made.id = std::move(id);
    made.repository = std::move(repository);
    made.expires = WallTime(std::chrono::seconds(expires_s));
    return made;
  }

  Names annotation_texts(const std::vector<Referrer>& referrers) {
    Names texts;
    for (const auto& each : referrers)
      texts.push_back(
          oci::parse_descriptor(as_bytes(each.descriptor)).value().annotations.at("text"));
    return texts;
  }

 private:
  const std::unique_ptr<test::MetadataStoreFixture> fixture_ = GetParam()();
};

TEST_P(MetadataStoreConformance, HasABlobOnlyInTheRepositoriesThatLinkIt) {
  ASSERT_TRUE(store().link_blob("a", digest("x"), 7));

  EXPECT_EQ(store().blob_size("a", digest("x")).value(), 7u);
  EXPECT_EQ(store().blob_size("b", digest("x")).value(), std::nullopt);
  EXPECT_EQ(store().blob_size("a", digest("y")).value(), std::nullopt);
}

TEST_P(MetadataStoreConformance, MountsABlobOnlyFromWhoHasIt) {
  ASSERT_TRUE(store().link_blob("a", digest("x"), 7));

  EXPECT_FALSE(store().mount_blob("nobody", "b", digest("x")).value());
  EXPECT_FALSE(store().mount_blob("a", "b", digest("y")).value());
  EXPECT_FALSE(store().repository_exists("b").value());
  EXPECT_TRUE(store().mount_blob("a", "b", digest("x")).value());

  EXPECT_EQ(store().blob_size("b", digest("x")).value(), 7u);
  EXPECT_EQ(store().repositories_with_blob(digest("x"), 10).value(), (Names{"a", "b"}));
  EXPECT_EQ(store().repositories_with_blob(digest("x"), 1).value(), Names{"a"});
}

TEST_P(MetadataStoreConformance, UnlinksABlobThatNoManifestNeeds) {
  ASSERT_TRUE(store().link_blob("a", digest("x"), 7));
  ASSERT_TRUE(store().link_blob("b", digest("x"), 7));
  auto made = manifest("m");
  made.blobs = {digest("x")};
  ASSERT_TRUE(put("a", made));

  EXPECT_EQ(store().unlink_blob("a", digest("x")).value(), UnlinkOutcome::kReferenced);
  EXPECT_EQ(store().unlink_blob("b", digest("x")).value(), UnlinkOutcome::kRemoved);
  EXPECT_EQ(store().unlink_blob("b", digest("x")).value(), UnlinkOutcome::kAbsent);
  ASSERT_TRUE(store().delete_manifest("a", digest("m"), Undo::kNever).value());
  EXPECT_EQ(store().unlink_blob("a", digest("x")).value(), UnlinkOutcome::kRemoved);
  EXPECT_EQ(store().blob_size("a", digest("x")).value(), std::nullopt);
}

TEST_P(MetadataStoreConformance, ListsRepositoriesInTheOrderOfTheirBytes) {
  for (const auto* name : {"b", "a/b", "a", "a-b"})
    ASSERT_TRUE(store().link_blob(name, digest("x"), 1));

  EXPECT_EQ(store().repositories("", 10).value(), (Names{"a", "a-b", "a/b", "b"}));
  EXPECT_EQ(store().repositories("a", 2).value(), (Names{"a-b", "a/b"}));
  EXPECT_EQ(store().repositories("a/a", 10).value(), (Names{"a/b", "b"}));
  EXPECT_TRUE(store().repositories("b", 10)->empty());
}

TEST_P(MetadataStoreConformance, GivesManifestsBackAsTheyWerePushed) {
  const std::string text = "{ \"a\" : \"" + std::string("\0\xff", 2) + "\" }\n";
  put("a", manifest(text, {"v1"}));
  fixture().reopen();

  EXPECT_EQ(bytes_of("a", digest(text)), text);
  EXPECT_EQ(bytes_of("a", "v1"), text);
  EXPECT_EQ(bytes_of("a", "v2"), "absent");
  EXPECT_EQ(bytes_of("b", digest(text)), "absent");
  const ManifestInfo info{digest(text), "application/x", text.size()};
  EXPECT_EQ(store().manifest_info("a", "v1").value(), info);
  EXPECT_EQ(store().manifest("a", "v1").value()->info, info);
  EXPECT_EQ(store().manifest_info("a", digest("z")).value(), std::nullopt);
}

TEST_P(MetadataStoreConformance, DoesNotTakeADigestForATag) {
  put("a", manifest("m"));

  EXPECT_EQ(bytes_of("a", digest("m").to_string()), "absent");
}

TEST_P(MetadataStoreConformance, RefusesAManifestWhoseBlobsTheRepositoryLacks) {
  ASSERT_TRUE(store().link_blob("other", digest("x"), 1));
  auto made = manifest("m", {"v1"});
  made.blobs = {digest("x"), digest("y"), digest("x")};
  ASSERT_TRUE(store().link_blob("a", digest("y"), 1));

  const auto outcome = store().put_manifest("a", made).value();

  EXPECT_EQ(outcome.missing, std::vector{digest("x")});
  EXPECT_EQ(bytes_of("a", digest("m")), "absent");
  EXPECT_TRUE(store().tags("a", "", 10).value()->empty());
}

TEST_P(MetadataStoreConformance, TakesASparseManifestWhenBlobsAreNotRequired) {
  auto made = manifest("m");
  made.blobs = {digest("x")};
  made.named = {digest("child")};
  made.blobs_required = false;

  EXPECT_TRUE(put("a", made));
  EXPECT_EQ(bytes_of("a", digest("m")), "m");
}

TEST_P(MetadataStoreConformance, ChangesNothingWhenAManifestComesAgain) {
  EXPECT_TRUE(put("a", referrer("first", "s", "t")));
  EXPECT_TRUE(put("a", referrer("second", "s", "t")));
  auto again = referrer("first", "s", "t");
  again.media_type = "application/y";

  EXPECT_FALSE(put("a", again));

  EXPECT_EQ(store().manifest_info("a", digest("first")).value()->media_type, "application/x");
  EXPECT_EQ(annotation_texts(store().referrers("a", digest("s"), {}, kFirstPage, 10).value()),
            (Names{"second", "first"}));
}

TEST_P(MetadataStoreConformance, APushRewritesTheBytesOfAManifestThatWentBad) {
  auto bad = manifest("good", {"v"});
  bad.bytes = as_bytes("went bad");
  put("a", bad);
  ASSERT_EQ(bytes_of("a", "v"), "went bad");

  EXPECT_FALSE(put("a", manifest("good")));

  EXPECT_EQ(bytes_of("a", "v"), "good");
  EXPECT_EQ(store().manifest_info("a", "v").value()->size, 4u);
}

TEST_P(MetadataStoreConformance, MovesATag) {
  put("a", manifest("one", {"v", "w"}));
  put("a", manifest("two", {"v"}));

  EXPECT_EQ(bytes_of("a", "v"), "two");
  EXPECT_EQ(bytes_of("a", "w"), "one");
  EXPECT_EQ(bytes_of("a", digest("one")), "one");
}

TEST_P(MetadataStoreConformance, PointsAWaitingTagWhileItsDocumentIsThere) {
  put("a", manifest("one", {"v"}));
  put("a", manifest("two"));
  const WaitingTag waiting{{"waits", "x"}, "a", "v", digest("two"), Undo::kPossible};
  EXPECT_FALSE(store().point_waiting_tag(waiting).value());
  EXPECT_EQ(bytes_of("a", "v"), "one");

  ASSERT_TRUE(store().put_document("waits", "x", "", 0));
  EXPECT_TRUE(store().point_waiting_tag(waiting).value());

  EXPECT_EQ(bytes_of("a", "v"), "two");
  EXPECT_EQ(store().document("waits", "x").value(), std::nullopt);
  const auto overwritten = store().deletions("a", kFirstPage, 10).value();
  ASSERT_EQ(overwritten.size(), 1u);
  EXPECT_EQ(overwritten[0].digest, digest("one"));
  EXPECT_FALSE(store().point_waiting_tag(waiting).value());
}

TEST_P(MetadataStoreConformance, PointsNoWaitingTagToAManifestThatIsGone) {
  put("a", manifest("kept"));
  put("a", manifest("deleted"));
  ASSERT_TRUE(store().delete_manifest("a", digest("deleted"), Undo::kPossible).value());

  for (const auto* const gone : {"deleted", "never"}) {
    ASSERT_TRUE(store().put_document("waits", "x", "", 0));
    const WaitingTag waiting{{"waits", "x"}, "a", "v", digest(gone), Undo::kPossible};
    EXPECT_FALSE(store().point_waiting_tag(waiting).value()) << gone;
    EXPECT_EQ(store().document("waits", "x").value(), std::nullopt) << gone;
    EXPECT_EQ(bytes_of("a", digest(gone)), "absent");
  }

  EXPECT_EQ(store().tags("a", "", 10).value(), Names{});
}

TEST_P(MetadataStoreConformance, ChangesDocumentsWithTheManifestThatReplacesThem) {
  for (const auto* const name : {"a v x", "a v y", "a v", "a w x"})
    ASSERT_TRUE(store().put_document("waits", name, "old", 0));
  ASSERT_TRUE(store().put_document("other", "a v x", "old", 0));
  auto made = manifest("m", {"v"});
  made.replaces = {{"waits", "a v "}, {"waits", "absent"}};
  made.documents = {{"waits", "a v x", "new"}, {"waits", "a w x", "new"}};
  made.blobs = {digest("blob")};
  ASSERT_FALSE(store().put_manifest("a", made)->missing.empty());
  EXPECT_EQ(names_of("waits"), (Names{"a v", "a v x", "a v y", "a w x"}));
  EXPECT_EQ(store().document("waits", "a v x").value()->body, "old");

  made.blobs_required = false;
  put("a", made);

  EXPECT_EQ(names_of("waits"), (Names{"a v", "a v x", "a w x"}));
  EXPECT_EQ(store().document("waits", "a v x").value()->body, "new");
  EXPECT_EQ(store().document("waits", "a w x").value()->body, "new");
  EXPECT_EQ(names_of("other"), Names{"a v x"});
}

TEST_P(MetadataStoreConformance, DeletesWhatWaitsForAManifestWithIt) {
  put("a", manifest("m", {}));
  for (const auto* const name : {"a v m", "a w m", "a v mm", "a m", "b v m"})
    ASSERT_TRUE(store().put_document("waits", name, "", 0));
  ASSERT_TRUE(store().put_document("other", "a v m", "", 0));
  const std::vector<DocumentPattern> waiting = {{"waits", "a ", " m"}};

  EXPECT_FALSE(store().delete_manifest("a", digest("absent"), Undo::kNever, waiting).value());
  EXPECT_EQ(names_of("waits").size(), 5u);
  EXPECT_TRUE(store().delete_manifest("a", digest("m"), Undo::kPossible, waiting).value());
  EXPECT_EQ(names_of("waits"), (Names{"a m", "a v mm", "b v m"})) << "\"a m\" has no two spaces";
  EXPECT_EQ(names_of("other"), Names{"a v m"});
}

TEST_P(MetadataStoreConformance, DeletesWhatWaitsInARepositoryWithIt) {
  put("a", manifest("m", {}));
  for (const auto* const name : {"a v m", "aa v m"})
    ASSERT_TRUE(store().put_document("waits", name, "", 0));

  EXPECT_FALSE(store().delete_repository("b", Undo::kNever, {{"waits", "a "}}).value());
  EXPECT_EQ(names_of("waits").size(), 2u);
  EXPECT_TRUE(store().delete_repository("a", Undo::kPossible, {{"waits", "a "}}).value());
  EXPECT_EQ(names_of("waits"), Names{"aa v m"});
}

TEST_P(MetadataStoreConformance, DeletesWhatWaitsForATagWithIt) {
  put("a", manifest("m", {"v"}));
  for (const auto* const name : {"a v x", "a v y", "a w x", "b v x"})
    ASSERT_TRUE(store().put_document("waits", name, "", 0));

  EXPECT_FALSE(store().delete_tag("b", "v", Undo::kNever, {{"waits", "b v "}}).value());
  EXPECT_EQ(names_of("waits").size(), 4u);
  EXPECT_TRUE(store().delete_tag("a", "v", Undo::kNever, {{"waits", "a v "}}).value());
  EXPECT_EQ(bytes_of("a", "v"), "absent");
  EXPECT_EQ(names_of("waits"), (Names{"a w x", "b v x"}));
  // One that only waits is there as well.
  EXPECT_TRUE(store().delete_tag("a", "w", Undo::kPossible, {{"waits", "a w "}}).value());
  EXPECT_FALSE(store().delete_tag("a", "w", Undo::kPossible, {{"waits", "a w "}}).value());

  EXPECT_EQ(names_of("waits"), Names{"b v x"});
  EXPECT_TRUE(store().deletions("a", kFirstPage, 10)->empty());
}

TEST_P(MetadataStoreConformance, ListsTagsInTheOrderOfTheirBytes) {
  put("a", manifest("m", {"b", "B", "a", "aa", "1"}));
  put("other", manifest("m", {"x"}));

  EXPECT_EQ(store().tags("a", "", 10).value(), (Names{"1", "B", "a", "aa", "b"}));
  EXPECT_EQ(store().tags("a", "B", 2).value(), (Names{"a", "aa"}));
  EXPECT_EQ(store().tags("a", "ab", 10).value(), Names{"b"});
  EXPECT_EQ(store().tags("a", "", 0).value(), Names{});
  EXPECT_EQ(store().tags("unknown", "", 10).value(), std::nullopt);
}

TEST_P(MetadataStoreConformance, ListsAllManifestsWhateverLeadsToThem) {
  put("a", manifest("one", {"v", "w"}));
  put("a", manifest("two", {}));
  put("a", manifest("gone", {}));
  put("other", manifest("three", {"x"}));
  ASSERT_TRUE(store().delete_manifest("a", digest("gone"), meta::Undo::kPossible).value());

  const auto all = store().manifests("a", {}, 10).value();
  ASSERT_EQ(all.size(), 2u);
  EXPECT_LT(all[0].info.digest.to_string(), all[1].info.digest.to_string());
  for (const auto& each : all) {
    const bool tagged = each.info.digest == digest("one");
    EXPECT_EQ(Names(each.tags.begin(), each.tags.end()).size(), tagged ? 2u : 0u);
    EXPECT_EQ(each.info, store().manifest_info("a", each.info.digest).value());
  }
  EXPECT_EQ(store().manifests("a", {}, 1).value(), std::vector{all[0]});
  EXPECT_EQ(store().manifests("a", all[0].info.digest, 10).value(), std::vector{all[1]});
  EXPECT_TRUE(store().manifests("unknown", {}, 10).value().empty());
}

TEST_P(MetadataStoreConformance, DeletesATagButNotItsManifest) {
  put("a", manifest("m", {"v", "w"}));

  EXPECT_TRUE(store().delete_tag("a", "v", Undo::kNever, {}).value());
  EXPECT_FALSE(store().delete_tag("a", "v", Undo::kNever, {}).value());
  EXPECT_FALSE(store().delete_tag("b", "w", Undo::kNever, {}).value());

  EXPECT_EQ(store().tags("a", "", 10).value(), Names{"w"});
  EXPECT_EQ(bytes_of("a", digest("m")), "m");
}

TEST_P(MetadataStoreConformance, DeletesAManifestWithItsTags) {
  put("a", manifest("m", {"v", "w"}));
  put("a", manifest("n", {"x"}));
  put("b", manifest("m", {"v"}));

  EXPECT_TRUE(store().delete_manifest("a", digest("m"), Undo::kNever).value());
  EXPECT_FALSE(store().delete_manifest("a", digest("m"), Undo::kNever).value());

  EXPECT_EQ(store().tags("a", "", 10).value(), Names{"x"});
  EXPECT_EQ(bytes_of("a", "v"), "absent");
  EXPECT_EQ(bytes_of("b", "v"), "m");
}

TEST_P(MetadataStoreConformance, ListsReferrersNewestFirstAndInPages) {
  for (const auto* text : {"1", "2", "3"}) put("a", referrer(text, "s", "t"));
  put("a", referrer("other subject", "o", "t"));
  put("b", referrer("other repository", "s", "t"));

  const auto first = store().referrers("a", digest("s"), {}, kFirstPage, 2).value();
  const auto rest = store().referrers("a", digest("s"), {}, first.back().position, 2).value();

  EXPECT_EQ(annotation_texts(first), (Names{"3", "2"}));
  EXPECT_EQ(annotation_texts(rest), Names{"1"});
  EXPECT_EQ(first[0].descriptor, oci::to_json(referrer("3", "s", "t").descriptor));
  EXPECT_EQ(first[0].digest, digest("3"));
  EXPECT_TRUE(store().referrers("a", digest("none"), {}, kFirstPage, 2)->empty());
  EXPECT_TRUE(store().referrers("nowhere", digest("s"), {}, kFirstPage, 2)->empty());
}

TEST_P(MetadataStoreConformance, FiltersReferrersByAnyOfTheTypes) {
  put("a", referrer("1", "s", "t1"));
  put("a", referrer("2", "s", "t2"));
  put("a", referrer("3", "s", "t3"));
  put("a", referrer("4", "s", ""));

  EXPECT_EQ(
      annotation_texts(store().referrers("a", digest("s"), {"t1", "t3"}, kFirstPage, 10).value()),
      (Names{"3", "1"}));
  EXPECT_TRUE(store().referrers("a", digest("s"), {"t"}, kFirstPage, 10)->empty());
}

TEST_P(MetadataStoreConformance, VisitsReferrersUntilTheVisitorHasEnough) {
  for (const auto* text : {"1", "2", "3"}) put("a", referrer(text, "s", "t"));
  Names seen;
  const auto two = [&](const VisitedReferrer& each) -> Result<bool> {
    seen.emplace_back(each.digest);
    EXPECT_FALSE(each.descriptor.empty());
    // It may ask the store.
    EXPECT_TRUE(store().is_referrer("a", digest("s"), digest("1")).value());
    return seen.size() < 2;
  };

  ASSERT_TRUE(store().visit_referrers("a", digest("s"), {}, kFirstPage, two));

  EXPECT_EQ(seen, (Names{digest("3").to_string(), digest("2").to_string()}));
  const auto fails = [](const VisitedReferrer&) -> Result<bool> {
    return fail(Code::kExhausted, "enough");
  };
  EXPECT_EQ(store().visit_referrers("a", digest("s"), {}, kFirstPage, fails).error().message,
            "enough");
}

TEST_P(MetadataStoreConformance, ForgetsADeletedReferrer) {
  put("a", referrer("1", "s", "t"));
  EXPECT_TRUE(store().is_referrer("a", digest("s"), digest("1")).value());

  ASSERT_TRUE(store().delete_manifest("a", digest("1"), Undo::kNever).value());

  EXPECT_TRUE(store().referrers("a", digest("s"), {}, kFirstPage, 10)->empty());
  EXPECT_FALSE(store().is_referrer("a", digest("s"), digest("1")).value());
}

TEST_P(MetadataStoreConformance, SaysWhichBlobsAManifestAndItsNewestReferrersName) {
  const auto put_with = [&](NewManifest made, std::string_view blob) {
    ASSERT_TRUE(store().link_blob("a", digest(blob), 1));
    made.blobs = {digest(blob)};
    put("a", made);
  };
  const auto names = [&](std::string_view blob, size_t referrers, std::string_view repository) {
    return store().names_blob(repository, digest("image"), digest(blob), referrers).value();
  };
  auto image = manifest("image");
  image.named = {digest("elsewhere")};
  put_with(image, "layer");
  put_with(manifest("other"), "other layer");
  put_with(referrer("old", "image", "t"), "old blob");
  put_with(referrer("new", "image", "t"), "new blob");

  EXPECT_TRUE(names("layer", 0, "a"));
  EXPECT_TRUE(names("elsewhere", 0, "a"));
  EXPECT_FALSE(names("new blob", 0, "a"));
  EXPECT_TRUE(names("new blob", 1, "a"));
  EXPECT_FALSE(names("old blob", 1, "a"));
  EXPECT_TRUE(names("old blob", 2, "a"));
  EXPECT_FALSE(names("other layer", 2, "a"));
  EXPECT_FALSE(names("layer", 2, "b"));

  ASSERT_TRUE(store().delete_manifest("a", digest("new"), Undo::kPossible).value());
  EXPECT_FALSE(names("new blob", 2, "a"));
  EXPECT_TRUE(names("old blob", 1, "a"));
  ASSERT_TRUE(store().delete_manifest("a", digest("image"), Undo::kPossible).value());
  EXPECT_FALSE(names("layer", 2, "a"));
  EXPECT_FALSE(names("old blob", 2, "a"));
}

TEST_P(MetadataStoreConformance, BindsAnUploadToItsRepository) {
  ASSERT_TRUE(store().create_upload(upload("id", "a")));

  EXPECT_EQ(store().upload("a", "id").value(), upload("id", "a"));
  EXPECT_EQ(store().upload("b", "id").value(), std::nullopt);
  EXPECT_EQ(store().record_received("b", "id", 1, {}).error().code, Code::kNotFound);
  EXPECT_EQ(store().finish_upload("b", "id", digest("x"), 1, is_stored).error().code,
            Code::kNotFound);
  EXPECT_FALSE(store().delete_upload("b", "id").value());
  EXPECT_EQ(store().create_upload(upload("id", "c")).error().code, Code::kConflict);
  EXPECT_FALSE(store().repository_exists("a").value());
  EXPECT_TRUE(store().upload_exists("id").value());
  EXPECT_FALSE(store().upload_exists("other").value());
}

TEST_P(MetadataStoreConformance, KeepsAnUploadOverARestart) {
  ASSERT_TRUE(store().create_upload(upload("id", "a")));
  const WallTime later(std::chrono::seconds(2000));
  ASSERT_TRUE(store().record_received("a", "id", 5, later));

  fixture().reopen();

  const auto found = store().upload("a", "id").value();
  ASSERT_TRUE(found);
  EXPECT_EQ(found->received, 5u);
  EXPECT_EQ(found->expires, later);
}

TEST_P(MetadataStoreConformance, RemembersWhoBeganAnUpload) {
  auto begun = upload("u", "a");
  begun.owner = "user:alice";
  ASSERT_TRUE(store().create_upload(begun));

  EXPECT_EQ(store().upload("a", "u").value()->owner, "user:alice");
}

TEST_P(MetadataStoreConformance, KeepsDocumentsByKindAndName) {
  const auto first = store().put_document("map", "b", "1", 0).value();
  ASSERT_TRUE(store().put_document("map", "a", "2", 0));
  ASSERT_TRUE(store().put_document("token", "b", "3", 0));
  fixture().reopen();

  EXPECT_EQ(store().document("map", "b").value(), (Document{"b", "1", first}));
  EXPECT_EQ(store().document("map", "c").value(), std::nullopt);
  const auto all = store().documents("map", "", 10).value();
  ASSERT_EQ(all.size(), 2);
  EXPECT_EQ(all[0].name, "a");
  EXPECT_EQ(all[1].name, "b");
  EXPECT_EQ(store().documents("map", "a", 10).value().size(), 1);
  EXPECT_EQ(store().documents("map", "", 1).value().size(), 1);
}

TEST_P(MetadataStoreConformance, ReplacesADocumentOnlyInTheVersionThatWasRead) {
  const auto first = store().put_document("map", "a", "1", 0).value();

  EXPECT_EQ(store().put_document("map", "a", "x", 0).error().code, Code::kConflict);
  const auto second = store().put_document("map", "a", "2", first).value();
  EXPECT_NE(first, second);
  EXPECT_EQ(store().put_document("map", "a", "x", first).error().code, Code::kConflict);
  EXPECT_EQ(store().document("map", "a").value()->body, "2");

  EXPECT_TRUE(store().delete_document("map", "a").value());
  EXPECT_FALSE(store().delete_document("map", "a").value());
  EXPECT_EQ(store().put_document("map", "a", "x", second).error().code, Code::kConflict);
  EXPECT_GT(store().put_document("map", "a", "3", 0).value(), second);
}

TEST_P(MetadataStoreConformance, EndsAnUploadAndLinksTheBlobInOne) {
  ASSERT_TRUE(store().create_upload(upload("id", "a")));

  ASSERT_TRUE(store().finish_upload("a", "id", digest("x"), 9, is_stored));

  EXPECT_EQ(store().upload("a", "id").value(), std::nullopt);
  EXPECT_EQ(store().blob_size("a", digest("x")).value(), 9u);
  EXPECT_EQ(store().finish_upload("a", "id", digest("y"), 9, is_stored).error().code,
            Code::kNotFound);
  EXPECT_EQ(store().blob_size("a", digest("y")).value(), std::nullopt);
}

TEST_P(MetadataStoreConformance, DoesNotLinkABlobThatIsNotStored) {
  ASSERT_TRUE(store().create_upload(upload("id", "a")));

  const auto outcome =
      store().finish_upload("a", "id", digest("x"), 9, [] { return Result<bool>(false); });

  EXPECT_EQ(outcome.error().code, Code::kUnavailable);
  EXPECT_EQ(store().blob_size("a", digest("x")).value(), std::nullopt);
  EXPECT_TRUE(store().upload("a", "id").value());
}

TEST_P(MetadataStoreConformance, UnlinksBlobsThatNoManifestNeedsOnceTheyAreOld) {
  for (const auto* text : {"needed", "loose", "leased", "needed elsewhere"})
    ASSERT_TRUE(store().link_blob("a", digest(text), 1));
  ASSERT_TRUE(store().link_blob("b", digest("needed elsewhere"), 1));
  auto made = manifest("m");
  made.blobs = {digest("needed")};
  put("a", made);
  auto other = manifest("n");
  other.blobs = {digest("needed elsewhere")};
  put("b", other);
  const auto pushed = fixture().clock().wall();
  fixture().clock().advance(std::chrono::hours(2));
  EXPECT_EQ(store().lease_blob("a", digest("leased"), std::chrono::hours(1)).value(), 1u);
  EXPECT_EQ(store().lease_blob("a", digest("loose"), std::chrono::hours(3)).value(), 1u);
  EXPECT_EQ(store().lease_blob("b", digest("loose"), std::chrono::hours(1)).value(), std::nullopt);

  const auto soon = pushed + std::chrono::hours(1);
  EXPECT_EQ(store().unlink_unreferenced(pushed, 10).value(), (Reviewed{0, 0}));
  EXPECT_EQ(store().unlink_unreferenced(soon, 1)->links, 1u);
  EXPECT_EQ(store().unlink_unreferenced(soon, 10)->links, 3u);
  EXPECT_EQ(store().unlink_unreferenced(soon, 10).value(), (Reviewed{0, 0}));

  EXPECT_TRUE(store().blob_size("a", digest("needed")).value());
  EXPECT_TRUE(store().blob_size("a", digest("leased")).value());
  EXPECT_FALSE(store().blob_size("a", digest("loose")).value());
  EXPECT_FALSE(store().blob_size("a", digest("needed elsewhere")).value());
  EXPECT_TRUE(store().blob_size("b", digest("needed elsewhere")).value());
}

TEST_P(MetadataStoreConformance, KeepsABlobThatAManifestNamesThoughItNeedNotBeThere) {
  for (const auto* text : {"named", "loose"}) ASSERT_TRUE(store().link_blob("a", digest(text), 1));
  ASSERT_TRUE(store().link_blob("b", digest("another's"), 1));
  auto made = manifest("m");
  made.named = {digest("named"), digest("another's"), digest("absent")};
  ASSERT_TRUE(put("a", made));
  const auto later = fixture().clock().wall() + std::chrono::hours(1);

  EXPECT_EQ(store().unlink_unreferenced(later, 10).value(), (Reviewed{3, 2}));
  EXPECT_EQ(store().unlink_blob("a", digest("named")).value(), UnlinkOutcome::kReferenced);
  EXPECT_TRUE(store().blob_size("a", digest("named")).value());
  EXPECT_FALSE(store().blob_size("a", digest("another's")).value());
  EXPECT_EQ(store().unlink_blob("a", digest("another's")).value(), UnlinkOutcome::kAbsent);

  ASSERT_TRUE(store().delete_manifest("a", digest("m"), Undo::kNever).value());
  EXPECT_EQ(store().unlink_unreferenced(later, 10).value(), (Reviewed{1, 1}));
}

TEST_P(MetadataStoreConformance, LooksAgainAtALinkThatLostItsManifest) {
  ASSERT_TRUE(store().link_blob("a", digest("x"), 1));
  auto made = manifest("m");
  made.blobs = {digest("x")};
  put("a", made);
  const auto later = fixture().clock().wall() + std::chrono::hours(1);
  EXPECT_EQ(store().unlink_unreferenced(later, 10).value(), (Reviewed{1, 0}));
  EXPECT_EQ(store().unlink_unreferenced(later, 10).value(), (Reviewed{0, 0}));

  ASSERT_TRUE(store().delete_manifest("a", digest("m"), Undo::kNever).value());

  EXPECT_EQ(store().unlink_unreferenced(later, 10).value(), (Reviewed{1, 1}));
}

TEST_P(MetadataStoreConformance, NotesBlobsThatLostALink) {
  using Digests = std::vector<oci::Digest>;
  for (const auto* name : {"a", "b"}) ASSERT_TRUE(store().link_blob(name, digest("x"), 1));
  ASSERT_TRUE(store().link_blob("c", digest("y"), 1));
  EXPECT_TRUE(store().unlinked_blobs({}, 10)->empty());

  ASSERT_TRUE(store().unlink_blob("a", digest("x")));
  ASSERT_TRUE(store().delete_repository("c", Undo::kNever).value());

  auto all = Digests{digest("x"), digest("y")};
  std::ranges::sort(all);
  EXPECT_EQ(store().unlinked_blobs({}, 10).value(), all);
  EXPECT_EQ(store().unlinked_blobs({}, 1).value(), Digests{all[0]});
  EXPECT_EQ(store().unlinked_blobs(all[0], 10).value(), Digests{all[1]});
  EXPECT_FALSE(store().remove_if_unlinked(digest("x"), [] { return Result<void>(); }).value());
  const auto failing = [] { return Result<void>(fail(Code::kUnavailable, "disk")); };
  EXPECT_FALSE(store().remove_if_unlinked(digest("y"), failing));
  EXPECT_EQ(store().unlinked_blobs({}, 10).value(), Digests{digest("y")});
  EXPECT_TRUE(store().remove_if_unlinked(digest("y"), [] { return Result<void>(); }).value());
  EXPECT_TRUE(store().unlinked_blobs({}, 10)->empty());
}

TEST_P(MetadataStoreConformance, LetsABlobBeRemovedWhenNobodyHasIt) {
  ASSERT_TRUE(store().link_blob("a", digest("x"), 1));
  int removed = 0;
  const auto remove = [&] {
    ++removed;
    return Result<void>();
  };

  EXPECT_TRUE(store().is_linked(digest("x")).value());
  EXPECT_FALSE(store().remove_if_unlinked(digest("x"), remove).value());
  EXPECT_FALSE(store().is_linked(digest("y")).value());
  EXPECT_TRUE(store().remove_if_unlinked(digest("y"), remove).value());
  const auto failing = [] { return Result<void>(fail(Code::kUnavailable, "disk")); };
  EXPECT_EQ(store().remove_if_unlinked(digest("y"), failing).error().code, Code::kUnavailable);

  EXPECT_EQ(removed, 1);
}

TEST_P(MetadataStoreConformance, FindsExpiredUploads) {
  ASSERT_TRUE(store().create_upload(upload("old", "a", 100)));
  ASSERT_TRUE(store().create_upload(upload("new", "a", 300)));

  const auto expired = store().expired_uploads(WallTime(std::chrono::seconds(200)), 10).value();

  EXPECT_EQ(expired, std::vector{upload("old", "a", 100)});
  EXPECT_TRUE(store().delete_upload("a", "old").value());
  EXPECT_TRUE(store().expired_uploads(WallTime(std::chrono::seconds(200)), 10)->empty());
}

TEST_P(MetadataStoreConformance, IsSharedByProcesses) {
  const auto second = fixture().second();
  ASSERT_TRUE(store().create_upload(upload("id", "a")));
  ASSERT_TRUE(second->record_received("a", "id", 3, WallTime(std::chrono::seconds(1000))));
  ASSERT_TRUE(second->finish_upload("a", "id", digest("x"), 3, is_stored));
  put("a", manifest("m", {"v"}));

  EXPECT_EQ(store().blob_size("a", digest("x")).value(), 3u);
  EXPECT_EQ(second->manifest("a", "v").value()->bytes, "m");
}

GTEST_ALLOW_UNINSTANTIATED_PARAMETERIZED_TEST(MetadataStoreConformance);

}  // namespace runnel::meta
