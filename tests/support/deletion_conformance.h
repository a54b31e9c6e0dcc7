// What every MetadataStore must do with what is deleted. Runs with the suite of
// metadata_store_conformance.h.
#pragma once

#include "oci/media_types.h"
#include "support/metadata_store_conformance.h"

namespace runnel::meta {

class DeletionConformance : public MetadataStoreConformance {
 protected:
  // Its newest deletion.
  Deletion last(std::string_view repository = "a") {
    auto found = store().deletions(repository, kFirstPage, 1).value();
    if (found.empty()) {
      ADD_FAILURE() << "no deletion in " << repository;
      return {};
    }
    return std::move(found.front());
  }

  size_t deletion_count() { return store().deletions("", kFirstPage, 100)->size(); }

  Restored restore(int64_t id) {
    auto restored = store().restore(id).value();
    EXPECT_TRUE(restored);
    return restored.value_or(Restored());
  }

  void put_image(std::string_view repository, std::string_view text, Names tags = {},
                 std::string_view blob = "layer") {
    ASSERT_TRUE(store().link_blob(repository, digest(blob), 5));
    auto made = manifest(text, std::move(tags));
    made.blobs = {digest(blob)};
    made.undo = Undo::kPossible;
    put(repository, made);
  }

  // As the collector does, in small steps.
  size_t forget_older_than(WallTime before) {
    size_t count = 0;
    while (true) {
      const auto some = store().forget_deletions(before, 2).value();
      count += some.deletions;
      if (!some.more) return count;
    }
  }

  // The collector's step, with everything old.
  size_t unlink_all() {
    fixture().clock().advance(std::chrono::hours(1));
    return store().unlink_unreferenced(fixture().clock().wall(), 100)->unlinked;
  }
};

TEST_P(DeletionConformance, HidesADeletedManifestAndBringsItBackWithItsTags) {
  put_image("a", "m", {"v", "w"});
  const auto deleted_at = fixture().clock().wall();

  ASSERT_TRUE(store().delete_manifest("a", digest("m"), Undo::kPossible).value());

  EXPECT_EQ(bytes_of("a", digest("m")), "absent");
  EXPECT_EQ(bytes_of("a", "v"), "absent");
  EXPECT_FALSE(store().delete_manifest("a", digest("m"), Undo::kPossible).value());
  EXPECT_EQ(store().tags("a", "", 10).value(), Names{});
  const auto deletion = last();
  EXPECT_EQ(deletion.kind, Deletion::Kind::kManifest);
  EXPECT_EQ(deletion.repository, "a");
  EXPECT_EQ(deletion.digest, digest("m"));
  EXPECT_EQ(deletion.tags, (Names{"v", "w"}));
  EXPECT_LT(deletion.deleted - deleted_at, std::chrono::seconds(1));
  EXPECT_EQ(store().deletion(deletion.id).value(), deletion);

  fixture().reopen();
  const auto restored = restore(deletion.id);

  EXPECT_EQ(restored.manifests, 1u);
  EXPECT_EQ(restored.tags, (Names{"v", "w"}));
  EXPECT_EQ(bytes_of("a", "v"), "m");
  EXPECT_EQ(deletion_count(), 0u);
  EXPECT_FALSE(store().restore(deletion.id).value());
}

TEST_P(DeletionConformance, KeepsTheBlobsOfWhatCanComeBack) {
  put_image("a", "m");
  ASSERT_TRUE(store().delete_manifest("a", digest("m"), Undo::kPossible).value());

  EXPECT_EQ(unlink_all(), 0u);
  EXPECT_TRUE(store().is_linked(digest("layer")).value());

  ASSERT_TRUE(store().forget(last().id).value());
  EXPECT_EQ(unlink_all(), 1u);
  EXPECT_FALSE(store().is_linked(digest("layer")).value());
}

TEST_P(DeletionConformance, HidesABlobThatOnlyADeletedManifestNeeds) {
  put_image("a", "m");
  ASSERT_TRUE(store().delete_manifest("a", digest("m"), Undo::kPossible).value());

  EXPECT_EQ(store().unlink_blob("a", digest("layer")).value(), UnlinkOutcome::kRemoved);
  EXPECT_EQ(store().unlink_blob("a", digest("layer")).value(), UnlinkOutcome::kAbsent);
  EXPECT_FALSE(store().blob_size("a", digest("layer")).value());
  EXPECT_FALSE(store().mount_blob("a", "b", digest("layer")).value());
  EXPECT_FALSE(store().lease_blob("a", digest("layer"), Duration(0)).value());
  EXPECT_TRUE(store().repositories_with_blob(digest("layer"), 10)->empty());
  EXPECT_EQ(unlink_all(), 0u);

  restore(last().id);
  EXPECT_EQ(store().blob_size("a", digest("layer")).value(), 5u);
}

TEST_P(DeletionConformance, KeepsAndBringsBackABlobThatIsOnlyNamed) {
  ASSERT_TRUE(store().link_blob("a", digest("layer"), 5));
  auto made = manifest("m", {"v"});
  made.named = {digest("layer")};
  put("a", made);
  const auto hidden = [&] {
    return store().delete_manifest("a", digest("m"), Undo::kPossible).value() &&
           unlink_all() == 0 &&
           store().unlink_blob("a", digest("layer")).value() == UnlinkOutcome::kRemoved &&
           !store().blob_size("a", digest("layer")).value();
  };

  ASSERT_TRUE(hidden());
  restore(last().id);
  EXPECT_EQ(store().blob_size("a", digest("layer")).value(), 5u);
  ASSERT_TRUE(hidden());
  EXPECT_TRUE(put("a", made));
  EXPECT_EQ(store().blob_size("a", digest("layer")).value(), 5u);
  ASSERT_TRUE(hidden());
  ASSERT_TRUE(store().forget(last().id).value());

  EXPECT_EQ(unlink_all(), 1u);
  EXPECT_FALSE(store().is_linked(digest("layer")).value());
}

TEST_P(DeletionConformance, BringsBackATagThatWasDeleted) {
  put_image("a", "m", {"v"});
  ASSERT_TRUE(store().delete_tag("a", "v", Undo::kPossible, {}).value());
  const auto deletion = last();
  EXPECT_EQ(deletion.kind, Deletion::Kind::kTag);
  EXPECT_EQ(deletion.digest, digest("m"));
  EXPECT_EQ(deletion.tags, Names{"v"});

  EXPECT_EQ(restore(deletion.id).tags, Names{"v"});
  EXPECT_EQ(bytes_of("a", "v"), "m");
}

TEST_P(DeletionConformance, BringsBackWhatATagPointedToAndCanUndoThat) {
  put_image("a", "one", {"v"});
  put_image("a", "two", {"v"});
  put_image("a", "two", {"v"});  // changes nothing
  EXPECT_EQ(deletion_count(), 1u);
  const auto deletion = last();
  EXPECT_EQ(deletion.kind, Deletion::Kind::kOverwrite);
  EXPECT_EQ(deletion.digest, digest("one"));

  EXPECT_EQ(restore(deletion.id).tags, Names{"v"});
  EXPECT_EQ(bytes_of("a", "v"), "one");
  EXPECT_EQ(last().digest, digest("two"));
  restore(last().id);
  EXPECT_EQ(bytes_of("a", "v"), "two");
}

TEST_P(DeletionConformance, BringsTheManifestBackWithItsTag) {
  put_image("a", "m", {"v"});
  ASSERT_TRUE(store().delete_tag("a", "v", Undo::kPossible, {}).value());
  const auto tag = last();
  ASSERT_TRUE(store().delete_manifest("a", digest("m"), Undo::kPossible).value());

  EXPECT_EQ(restore(tag.id).manifests, 1u);

  EXPECT_EQ(bytes_of("a", "v"), "m");
  EXPECT_EQ(deletion_count(), 0u);
}

TEST_P(DeletionConformance, LeavesATagAloneThatWasPushedAgain) {
  put_image("a", "one", {"v", "w"});
  ASSERT_TRUE(store().delete_manifest("a", digest("one"), Undo::kPossible).value());
  const auto deletion = last();
  put_image("a", "two", {"v"});

  const auto restored = restore(deletion.id);

  EXPECT_EQ(restored.tags, Names{"w"});
  EXPECT_EQ(restored.kept_tags, Names{"v"});
  EXPECT_EQ(bytes_of("a", "v"), "two");
  EXPECT_EQ(bytes_of("a", "w"), "one");
}

TEST_P(DeletionConformance, MovesATagToWhatComesBackUnlessSomebodyElseMovedIt) {
  put_image("a", "one", {"v"});
  ASSERT_TRUE(store().delete_manifest("a", digest("one"), Undo::kPossible).value());
  const auto deletion = last();
  put_image("a", "two", {"v"});
  for (const auto* const name : {"a v two", "a w two"})
    ASSERT_TRUE(store().put_document("waits", name, "", 0));
  const TagMove of_two{"v", digest("two"), {{"waits", "a v "}}};
  for (const auto& other : {std::optional(digest("three")), std::optional<oci::Digest>()}) {
    const auto moved = store().restore(deletion.id, TagMove{"v", other, of_two.waiting});
    ASSERT_FALSE(moved);
    EXPECT_EQ(moved.error().code, Code::kConflict);
  }
  EXPECT_EQ(bytes_of("a", digest("one")), "absent");
  EXPECT_EQ(bytes_of("a", "v"), "two");
  EXPECT_EQ(names_of("waits").size(), 2u);

  const auto restored = store().restore(deletion.id, of_two).value();

  ASSERT_TRUE(restored);
  EXPECT_EQ(restored->tags, Names{"v"});
  EXPECT_EQ(restored->kept_tags, Names{});
  EXPECT_EQ(bytes_of("a", "v"), "one");
  EXPECT_EQ(names_of("waits"), Names{"a w two"});
  EXPECT_EQ(last().kind, Deletion::Kind::kOverwrite);
  EXPECT_EQ(last().digest, digest("two"));
  // Once more, as a client does that had no answer.
  EXPECT_EQ(store().restore(deletion.id, of_two).value(), std::nullopt);
  EXPECT_EQ(bytes_of("a", "v"), "one");
}

TEST_P(DeletionConformance, MovesATagThatTheDeletionDidNotHave) {
  put_image("a", "one", {"v"});
  ASSERT_TRUE(store().delete_tag("a", "v", Undo::kPossible, {}).value());
  const auto of_tag = last();
  ASSERT_TRUE(store().delete_manifest("a", digest("one"), Undo::kPossible).value());
  put_image("a", "two", {"v", "w"});

  const auto conflict = store().restore(of_tag.id, TagMove{"w", std::nullopt, {}});
  const auto restored = store().restore(of_tag.id, TagMove{"w", digest("two"), {}}).value();

  ASSERT_FALSE(conflict);
  ASSERT_TRUE(restored);
  EXPECT_EQ(restored->tags, Names{"w"});
  EXPECT_EQ(restored->kept_tags, Names{"v"});
  EXPECT_EQ(bytes_of("a", "v"), "two") << "it was pushed again, and nobody asked for it";
  EXPECT_EQ(bytes_of("a", "w"), "one");
}

TEST_P(DeletionConformance, BringsAManifestBackForItsTagWhicheverDeletionTookIt) {
  put_image("a", "one", {"v"});
  ASSERT_TRUE(store().delete_manifest("a", digest("one"), Undo::kPossible).value());
  const auto with_tag = last();
  put_image("a", "one");
  ASSERT_TRUE(store().delete_manifest("a", digest("one"), Undo::kPossible).value());

  const auto restored = store().restore(with_tag.id, TagMove{"v", std::nullopt, {}}).value();

  ASSERT_TRUE(restored);
  EXPECT_EQ(restored->manifests, 1u);
  EXPECT_EQ(restored->tags, Names{"v"});
  EXPECT_EQ(bytes_of("a", "v"), "one");
}

TEST_P(DeletionConformance, MovesNoTagWithARepositorysDeletion) {
  put_image("a", "one", {"v"});
  ASSERT_TRUE(store().delete_repository("a", Undo::kPossible).value());

  const auto moved = store().restore(last().id, TagMove{"v", std::nullopt, {}});

  ASSERT_FALSE(moved);
  EXPECT_EQ(moved.error().code, Code::kInvalid);
  EXPECT_FALSE(store().repository_exists("a").value());
}

TEST_P(DeletionConformance, DeletesAndRestoresAnImagesArtifactWithIt) {
  put_image("a", "image", {"v"});
  auto artifact = referrer("artifact", "image", std::string(oci::kStreamingArtifactHere));
  ASSERT_TRUE(store().link_blob("a", digest("boot"), 3));
  artifact.blobs = {digest("boot")};
  put("a", artifact);
  put("a", referrer("signature", "image", "signature"));

  ASSERT_TRUE(store().delete_manifest("a", digest("image"), Undo::kPossible).value());

  EXPECT_EQ(annotation_texts(store().referrers("a", digest("image"), {}, kFirstPage, 10).value()),
            Names{"signature"});
  EXPECT_EQ(bytes_of("a", digest("artifact")), "absent");
  EXPECT_EQ(unlink_all(), 0u);

  EXPECT_EQ(restore(last().id).manifests, 2u);
  EXPECT_EQ(annotation_texts(store().referrers("a", digest("image"), {}, kFirstPage, 10).value()),
            (Names{"signature", "artifact"}));

  ASSERT_TRUE(store().delete_manifest("a", digest("image"), Undo::kNever).value());
  EXPECT_EQ(bytes_of("a", digest("artifact")), "absent");
  EXPECT_EQ(unlink_all(), 2u);
}

TEST_P(DeletionConformance, SaysWhatADeletionWouldTake) {
  put_image("a", "image", {"v", "w"});
  auto artifact = referrer("artifact", "image", std::string(oci::kStreamingArtifactElsewhere));
  artifact.tags = {"tagged"};
  put("a", artifact);
  put("a", referrer("signature", "image", "signature"));
  put_image("a", "other", {"x"});
  put_image("b", "image", {"y"});

  auto taken = store().taken_with("a", digest("image")).value();

  std::ranges::sort(taken);
  Names expected = {digest("artifact").to_string(), digest("image").to_string(), "tagged", "v",
                    "w"};
  std::ranges::sort(expected);
  EXPECT_EQ(taken, expected);
  ASSERT_TRUE(store().delete_manifest("a", digest("image"), Undo::kPossible).value());
  EXPECT_TRUE(store().taken_with("a", digest("image"))->empty());
  EXPECT_TRUE(store().taken_with("no such", digest("image"))->empty());
}

TEST_P(DeletionConformance, APushBringsADeletedImageBack) {
  put_image("a", "image", {"v"});
  put("a", referrer("artifact", "image", std::string(oci::kStreamingArtifactHere)));
  ASSERT_TRUE(store().delete_manifest("a", digest("image"), Undo::kPossible).value());
  const auto deletion = last();

  auto again = manifest("image", {"w"});
  again.blobs = {digest("layer")};
  EXPECT_TRUE(put("a", again));

  EXPECT_EQ(bytes_of("a", digest("image")), "image");
  EXPECT_EQ(bytes_of("a", digest("artifact")), "artifact");
  EXPECT_EQ(store().tags("a", "", 10).value(), Names{"w"});
  EXPECT_EQ(restore(deletion.id).tags, Names{"v"});  // what is left of it
  EXPECT_EQ(bytes_of("a", "v"), "image");
}

TEST_P(DeletionConformance, APushBringsBackADeletedManifestWhoseBytesWentBad) {
  auto bad = manifest("image");
  bad.bytes = as_bytes("went bad");
  put("a", bad);
  ASSERT_TRUE(store().delete_manifest("a", digest("image"), Undo::kPossible).value());

  EXPECT_TRUE(put("a", manifest("image")));

  EXPECT_EQ(bytes_of("a", digest("image")), "image");
}

TEST_P(DeletionConformance, DeletesARepositoryAndBringsItBack) {
  put_image("a", "m", {"v"});
  put("a", referrer("signature", "m", "signature"));
  put_image("b", "m", {"v"});
  EXPECT_FALSE(store().delete_repository("c", Undo::kPossible).value());

  ASSERT_TRUE(store().delete_repository("a", Undo::kPossible).value());

  EXPECT_FALSE(store().repository_exists("a").value());
  EXPECT_EQ(store().repositories("", 10).value(), Names{"b"});
  EXPECT_EQ(store().tags("a", "", 10).value(), std::nullopt);
  EXPECT_EQ(bytes_of("a", digest("m")), "absent");
  EXPECT_FALSE(store().blob_size("a", digest("layer")).value());
  EXPECT_FALSE(store().delete_repository("a", Undo::kPossible).value());
  EXPECT_EQ(unlink_all(), 0u);

  EXPECT_EQ(restore(last().id).manifests, 2u);
  EXPECT_EQ(store().repositories("", 10).value(), (Names{"a", "b"}));
  EXPECT_EQ(bytes_of("a", "v"), "m");
  EXPECT_EQ(store().blob_size("a", digest("layer")).value(), 5u);
}

TEST_P(DeletionConformance, ARepositoryCanBeginAnewBeforeTheOldOneIsForgotten) {
  put_image("a", "old", {"v"});
  ASSERT_TRUE(store().delete_repository("a", Undo::kPossible).value());
  const auto deletion = last();

  put_image("a", "new", {"v"}, "another layer");

  EXPECT_EQ(bytes_of("a", digest("old")), "absent");
  EXPECT_FALSE(store().blob_size("a", digest("layer")).value());
  EXPECT_EQ(restore(deletion.id).kept_tags, Names{"v"});
  EXPECT_EQ(bytes_of("a", "v"), "new");
  EXPECT_EQ(bytes_of("a", digest("old")), "old");
  EXPECT_TRUE(store().blob_size("a", digest("layer")).value());
}

TEST_P(DeletionConformance, ForgetsARepositoryButNotWhatCameAfterIt) {
  put_image("a", "old", {"v"});
  ASSERT_TRUE(store().delete_repository("a", Undo::kPossible).value());
  const auto deletion = last();
  put_image("a", "new", {"v"}, "another layer");

  ASSERT_TRUE(store().forget(deletion.id).value());
  EXPECT_FALSE(store().forget(deletion.id).value());

  EXPECT_EQ(unlink_all(), 1u);
  EXPECT_EQ(bytes_of("a", "v"), "new");
  ASSERT_TRUE(store().delete_repository("a", Undo::kNever).value());
  EXPECT_EQ(deletion_count(), 0u);
  EXPECT_FALSE(store().is_linked(digest("another layer")).value());
}

TEST_P(DeletionConformance, ForgetsOneDeletionOfARepositoryAndKeepsTheOthers) {
  put_image("a", "first", {"v"});
  ASSERT_TRUE(store().delete_manifest("a", digest("first"), Undo::kPossible).value());
  const auto first = last();
  put_image("a", "second", {"v"}, "second layer");
  ASSERT_TRUE(store().delete_repository("a", Undo::kPossible).value());
  const auto second = last();
  put_image("a", "third", {"v"}, "third layer");
  ASSERT_TRUE(store().link_blob("a", digest("no manifest's"), 1));
  ASSERT_TRUE(store().delete_repository("a", Undo::kPossible).value());

  ASSERT_TRUE(store().forget(last().id).value());

  EXPECT_EQ(store().deletions("", kFirstPage, 10).value(), (std::vector{second, first}));
  EXPECT_FALSE(store().repository_exists("a").value());
  EXPECT_EQ(unlink_all(), 2u);
  EXPECT_FALSE(store().is_linked(digest("third layer")).value());
  EXPECT_FALSE(store().is_linked(digest("no manifest's")).value());
  EXPECT_EQ(restore(first.id).tags, Names{"v"});
  EXPECT_EQ(bytes_of("a", "v"), "first");
  EXPECT_EQ(restore(second.id).kept_tags, Names{"v"});
  EXPECT_EQ(bytes_of("a", digest("second")), "second");
  EXPECT_TRUE(store().blob_size("a", digest("second layer")).value());
}

TEST_P(DeletionConformance, ARepositoryGoesWithTheLastOfItsDeletions) {
  put_image("a", "first");
  ASSERT_TRUE(store().delete_repository("a", Undo::kPossible).value());
  put_image("a", "second", {}, "second layer");
  ASSERT_TRUE(store().delete_repository("a", Undo::kPossible).value());

  fixture().clock().advance(std::chrono::hours(1));
  EXPECT_EQ(forget_older_than(fixture().clock().wall()), 2u);

  EXPECT_EQ(deletion_count(), 0u);
  EXPECT_FALSE(store().is_linked(digest("layer")).value());
  EXPECT_FALSE(store().is_linked(digest("second layer")).value());
}

TEST_P(DeletionConformance, ForgetsWhatIsOld) {
  put_image("a", "one");
  put_image("a", "two");
  ASSERT_TRUE(store().delete_manifest("a", digest("one"), Undo::kPossible).value());
  fixture().clock().advance(std::chrono::hours(2));
  ASSERT_TRUE(store().delete_manifest("a", digest("two"), Undo::kPossible).value());
  const auto hour_ago = fixture().clock().wall() - std::chrono::hours(1);

  EXPECT_EQ(store().forget_deletions(hour_ago - std::chrono::hours(2), 10).value(), Forgotten());
  EXPECT_EQ(forget_older_than(hour_ago), 1u);

  EXPECT_EQ(deletion_count(), 1u);
  EXPECT_EQ(last().digest, digest("two"));
}

TEST_P(DeletionConformance, BringsNothingBackOfWhatIsBeingForgotten) {
  put_image("a", "one", {"v"});
  ASSERT_TRUE(store().delete_tag("a", "v", Undo::kPossible, {}).value());
  const auto tag = last();
  for (const auto* text : {"two", "three", "four"}) put_image("a", text, {text});
  ASSERT_TRUE(store().delete_repository("a", Undo::kPossible).value());
  const auto deletion = last();
  fixture().clock().advance(std::chrono::hours(1));

  // The tag's goes, and a part of the repository's, or all.
  ASSERT_GE(store().forget_deletions(fixture().clock().wall(), 3)->deletions, 1u);
  fixture().reopen();
  while (store().forget_deletions(fixture().clock().wall(), 1)->deletions == 0) {
    EXPECT_FALSE(store().restore(deletion.id).value());
    EXPECT_FALSE(store().deletion(deletion.id).value());
    EXPECT_FALSE(store().forget(deletion.id).value());
    EXPECT_EQ(deletion_count(), 0u);
    EXPECT_FALSE(store().repository_exists("a").value());
    EXPECT_FALSE(store().blob_size("a", digest("layer")).value());
    fixture().reopen();
  }

  EXPECT_FALSE(store().restore(tag.id).value());
  EXPECT_FALSE(store().is_linked(digest("layer")).value());
}

TEST_P(DeletionConformance, ARepositoryBeginsAnewWhileTheOldOneIsBeingForgotten) {
  for (const auto* text : {"one", "two", "three"}) put_image("a", text, {text});
  ASSERT_TRUE(store().link_blob("a", digest("no manifest's"), 1));
  ASSERT_TRUE(store().delete_repository("a", Undo::kPossible).value());
  fixture().clock().advance(std::chrono::hours(1));
  const auto now = fixture().clock().wall();

  for (const auto* text : {"two", "new"}) {
    ASSERT_TRUE(store().forget_deletions(now, 2));
    put_image("a", text, {"v"});
  }
  forget_older_than(now);

  EXPECT_EQ(bytes_of("a", "v"), "new");
  EXPECT_EQ(bytes_of("a", digest("two")), "two");
  EXPECT_EQ(bytes_of("a", digest("one")), "absent");
  EXPECT_EQ(bytes_of("a", digest("three")), "absent");
  EXPECT_TRUE(store().blob_size("a", digest("layer")).value());
  EXPECT_FALSE(store().blob_size("a", digest("no manifest's")).value());
  unlink_all();
  EXPECT_FALSE(store().is_linked(digest("no manifest's")).value());
  EXPECT_TRUE(store().is_linked(digest("layer")).value());
}

TEST_P(DeletionConformance, ListsDeletionsNewestFirstAndInPages) {
  put_image("a", "m", {"1", "2", "3"});
  put_image("b", "m", {"x"});
  for (const auto* tag : {"1", "2", "3"})
    ASSERT_TRUE(store().delete_tag("a", tag, Undo::kPossible, {}).value());
  ASSERT_TRUE(store().delete_tag("b", "x", Undo::kPossible, {}).value());

  const auto first = store().deletions("a", kFirstPage, 2).value();
  const auto rest = store().deletions("a", first.back().id, 2).value();

  ASSERT_EQ(first.size(), 2u);
  EXPECT_EQ(first[0].tags, Names{"3"});
  ASSERT_EQ(rest.size(), 1u);
  EXPECT_EQ(rest[0].tags, Names{"1"});
  EXPECT_EQ(deletion_count(), 4u);
}

GTEST_ALLOW_UNINSTANTIATED_PARAMETERIZED_TEST(DeletionConformance);

}  // namespace runnel::meta
