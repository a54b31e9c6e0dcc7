// fsck, scrub, backup, the dry run and the account, on stores in a directory.
#include <gtest/gtest.h>

#include <algorithm>
#include <filesystem>
#include <limits>

#include "base/durable.h"
#include "base/fd.h"
#include "blob/directory_store.h"
#include "meta/stored.h"
#include "registry/backup.h"
#include "registry/dry_run.h"
#include "registry/fsck.h"
#include "registry/scrub.h"
#include "registry/uploads.h"
#include "support/fake_clock.h"
#include "support/temp_dir.h"
#include "support/watched_blob_store.h"

namespace runnel::registry {
namespace {

constexpr auto kLifetime = std::chrono::hours(1);
constexpr auto kUndoTime = std::chrono::days(7);

oci::Digest digest(std::string_view text) {
  return oci::Digest::of(as_bytes(text));
}

struct Stores {
  Stores(const std::string& data, const Clock& clock)
      : blobs(blob::DirectoryStore::open(data + "/content").value()),
        metadata(meta::SqliteStore::open(data + "/metadata.sqlite", clock).value()) {}

  std::unique_ptr<blob::DirectoryStore> blobs;
  std::unique_ptr<meta::SqliteStore> metadata;
};

class Maintenance : public testing::Test {
 protected:
  Maintenance() {
    clock_.advance(std::chrono::hours(24 * 365 * 50));
    push("a", "image", "layer");
  }

  void push_blob(const std::string& repository, std::string_view text) {
    Uploads uploads(*stores_.blobs, *stores_.metadata, clock_, kLifetime);
    const auto upload = uploads.start(repository, "").value();
    const auto receiving =
        uploads.receive(repository, "", upload.id, oci::Algorithm::kSha256).value();
    ASSERT_TRUE(receiving->append(as_bytes(text)));
    ASSERT_TRUE(receiving->finish(digest(text)));
  }

  void push(const std::string& repository, std::string_view name, std::string_view layer) {
    push_blob(repository, layer);
    meta::NewManifest made;
    made.digest = digest(name);
    made.media_type = "application/x";
    made.bytes = as_bytes(name);
    made.descriptor.media_type = "application/x";
    made.descriptor.digest = made.digest;
    made.blobs = {digest(layer)};
    ASSERT_TRUE(stores_.metadata->put_manifest(repository, made)->missing.empty());
  }

  std::string file_of(std::string_view text) {
    const auto name = digest(text);
    return fmt::format("{}/content/blobs/sha256/{}/{}", data_, name.hex().substr(0, 2), name.hex());
  }
  void damage(std::string_view text) {
    ASSERT_TRUE(replace_file(file_of(text), as_bytes("bad!!")));
  }

  std::vector<std::string> findings(bool repair = false) {
    std::vector<std::string> found;
    for (auto& each : fsck(*stores_.blobs, *stores_.metadata, repair)->findings)
      found.push_back((each.repaired ? "repaired: " : "") + each.what);
    return found;
  }

  const test::TempDir directory_;
  const std::string data_ = directory_.path() + "/data";
  const bool made_ = make_directories(data_).has_value();
  test::FakeClock clock_;
  Stores stores_{data_, clock_};
};

TEST_F(Maintenance, FsckFindsNothingInAGoodStore) {
  ASSERT_TRUE(
      stores_.metadata->delete_manifest("a", digest("image"), meta::Undo::kPossible).value());
  push("b", "another", "layer");
  ASSERT_TRUE(stores_.metadata->delete_repository("b", meta::Undo::kPossible).value());

  const auto checked = fsck(*stores_.blobs, *stores_.metadata, false).value();

  EXPECT_TRUE(checked.findings.empty());
  EXPECT_EQ(checked.manifests, 2u);
  EXPECT_EQ(checked.blobs, 1u);
}

TEST_F(Maintenance, FsckSetsADamagedBlobAsideAndAPushRepairsIt) {
  damage("layer");

  EXPECT_EQ(findings(), std::vector{fmt::format("blob {} of a has other bytes: push it again",
                                                digest("layer"))});
  EXPECT_TRUE(findings(true).at(0).starts_with("repaired: "));
  EXPECT_EQ(findings(),
            std::vector{fmt::format("blob {} of a is gone: push it again", digest("layer"))});

  push_blob("a", "layer");
  EXPECT_TRUE(findings().empty());
}

TEST_F(Maintenance, FsckFindsWrongSizesManifestsAndLostUploads) {
  ASSERT_TRUE(stores_.metadata->link_blob("a", digest("layer"), 99));
  ASSERT_TRUE(stores_.blobs->open_upload("lost", 0).value()->append(as_bytes("x")));
  auto connection =
      meta::Connection::open(data_ + "/metadata.sqlite", meta::Connection::Durability::kEveryCommit)
          .value();
  ASSERT_TRUE(connection->script("UPDATE manifests SET bytes = 'imago'"));

  EXPECT_EQ(findings().size(), 3u);
  for (const auto& each : findings(true)) EXPECT_TRUE(each.starts_with("repaired: ")) << each;

  EXPECT_TRUE(findings().empty());
  EXPECT_EQ(stores_.metadata->blob_size("a", digest("layer")).value(), 5u);
}

TEST_F(Maintenance, FsckRepairsWhatWasDeletedAndSaysNothingElse) {
  push("a", "kept", "kept layer");
  push("b", "other", "other layer");
  ASSERT_TRUE(stores_.metadata->delete_manifest("a", digest("image"), meta::Undo::kPossible));
  ASSERT_TRUE(stores_.metadata->delete_repository("b", meta::Undo::kPossible).value());
  auto connection =
      meta::Connection::open(data_ + "/metadata.sqlite", meta::Connection::Durability::kEveryCommit)
          .value();
  ASSERT_TRUE(
      connection->script("UPDATE manifests SET bytes = 'imago' WHERE deletion NOT NULL;"
                         "UPDATE blob_links SET size = 99 WHERE hidden = 1"));

  const auto found = findings();
  ASSERT_EQ(found.size(), 3u);
  EXPECT_EQ(found[0], fmt::format("deleted manifest {} of a has other bytes: push it again",
                                  digest("image")));
  const auto repaired = findings(true);
  ASSERT_EQ(repaired.size(), 3u);
  for (size_t i = 0; i < found.size(); ++i) EXPECT_EQ(repaired[i], "repaired: " + found[i]);

  EXPECT_TRUE(findings().empty());
  EXPECT_EQ(stores_.metadata->manifest("a", digest("kept")).value()->bytes, "kept");
  const auto left = stores_.metadata->deletions("", std::numeric_limits<int64_t>::max(), 9).value();
  ASSERT_EQ(left.size(), 1u);
  EXPECT_EQ(left[0].kind, meta::Deletion::Kind::kRepository);
}

TEST_F(Maintenance, WhatOnlyARemovedManifestNamedIsLookedAtAgain) {
  push_blob("a", "cache");
  meta::NewManifest index;
  index.digest = digest("index");
  index.descriptor.digest = index.digest;
  index.bytes = as_bytes("index");
  index.named = {digest("cache")};
  ASSERT_TRUE(stores_.metadata->put_manifest("a", index));
  const auto later = clock_.wall() + kLifetime;
  EXPECT_EQ(stores_.metadata->unlink_unreferenced(later, 10).value(), (meta::Reviewed{2, 0}));
  auto connection =
      meta::Connection::open(data_ + "/metadata.sqlite", meta::Connection::Durability::kEveryCommit)
          .value();
  ASSERT_TRUE(connection->script(
      "UPDATE manifests SET bytes = 'indox' WHERE CAST(bytes AS TEXT) = 'index'"));

  ASSERT_EQ(findings(true).size(), 1u);

  EXPECT_EQ(stores_.metadata->unlink_unreferenced(later, 10).value(), (meta::Reviewed{1, 1}));
}

TEST_F(Maintenance, FsckLeavesAManifestThatWasPushedAgainMeanwhile) {
  auto connection =
      meta::Connection::open(data_ + "/metadata.sqlite", meta::Connection::Durability::kEveryCommit)
          .value();
  ASSERT_TRUE(connection->script("UPDATE manifests SET bytes = 'imago'"));
  const auto seen = stores_.metadata->all_manifests(0, 1)->at(0);
  push("a", "image", "layer");

  EXPECT_FALSE(stores_.metadata->remove_if_unchanged(seen).value());

  EXPECT_TRUE(findings().empty());
}

TEST_F(Maintenance, FsckFindsATagOfADeletedManifest) {
  auto connection =
      meta::Connection::open(data_ + "/metadata.sqlite", meta::Connection::Durability::kEveryCommit)
          .value();
  ASSERT_TRUE(connection->script("UPDATE manifests SET deletion = 7"));

  ASSERT_EQ(findings().size(), 1u);
  EXPECT_TRUE(findings()[0].find("no deletion that could bring it back") != std::string::npos);
}

TEST_F(Maintenance, ScrubSetsDamagedBlobsAsideAtItsPace) {
  push_blob("a", std::string(3'000'000, 'x'));
  damage("layer");
  Duration rested{};
  const auto rest = [&](Duration time) {
    rested += time;
    return true;
  };
  Scrubber scrubber(*stores_.blobs, *stores_.metadata, 1'000'000, rest);

  const auto scrubbed = scrubber.scrub(digest("anywhere")).value();

  EXPECT_EQ(scrubbed.blobs, 2u);
  EXPECT_EQ(scrubbed.damaged, std::vector{digest("layer")});
  EXPECT_GE(rested, std::chrono::seconds(3));
  EXPECT_LT(rested, std::chrono::milliseconds(3001));
  EXPECT_FALSE(stores_.blobs->size(digest("layer")).value());
  EXPECT_TRUE(
      std::filesystem::exists(fmt::format("{}/content/damaged/{}", data_, digest("layer").hex())));
}

TEST_F(Maintenance, ScrubEndsWhenItIsTold) {
  int rests = 0;
  Scrubber scrubber(*stores_.blobs, *stores_.metadata, 1, [&](Duration) { return ++rests > 1; });

  EXPECT_EQ(scrubber.scrub({})->blobs, 0u);
  EXPECT_EQ(rests, 1);
}

TEST_F(Maintenance, ScrubLeavesABlobThatWasPushedAgainMeanwhile) {
  const auto seen = stores_.blobs->find(digest("layer")).value().value();
  damage("layer");
  push_blob("a", "layer");

  EXPECT_FALSE(set_aside_if_unchanged(*stores_.blobs, *stores_.metadata, seen).value());

  EXPECT_TRUE(findings().empty());
}

TEST_F(Maintenance, ABackupIsADataDirectoryOfItsOwn) {
  const auto to = directory_.path() + "/backup";

  const auto first = back_up(data_, *stores_.blobs, *stores_.metadata, clock_, to).value();
  EXPECT_EQ(first.blobs, 1u);
  push("b", "another", "another layer");
  ASSERT_TRUE(stores_.metadata->delete_repository("a", meta::Undo::kNever).value());
  const auto second = back_up(data_, *stores_.blobs, *stores_.metadata, clock_, to).value();
  EXPECT_EQ(second.blobs, 1u);

  Stores copy(to, clock_);
  EXPECT_TRUE(fsck(*copy.blobs, *copy.metadata, false)->findings.empty());
  EXPECT_EQ(copy.metadata->repositories("", 9).value(), std::vector<std::string>{"b"});
  EXPECT_EQ(copy.metadata->manifest("b", digest("another")).value()->bytes, "another");
  EXPECT_TRUE(copy.blobs->uploads()->empty());
  EXPECT_FALSE(std::filesystem::exists(to + "/metadata.new"));
}

TEST_F(Maintenance, ABackupIsNotMadeAmongOtherThings) {
  const auto to = directory_.path() + "/photos";
  ASSERT_TRUE(make_directories(to));
  ASSERT_TRUE(replace_file(to + "/one.jpeg", as_bytes("not a backup")));
  for (const auto& place : {to, data_}) {
    const auto done = back_up(data_, *stores_.blobs, *stores_.metadata, clock_, place);

    ASSERT_FALSE(done) << place;
    EXPECT_EQ(done.error().code, Code::kConflict);
    EXPECT_TRUE(done.error().message.contains(place)) << done.error().message;
    EXPECT_FALSE(std::filesystem::exists(place + "/backup.lock"));
  }
  EXPECT_FALSE(std::filesystem::exists(to + "/content"));
  EXPECT_EQ(stores_.metadata->repositories("", 9).value(), std::vector<std::string>{"a"});
}

TEST_F(Maintenance, ABackupIsNotDisturbedByAnotherToTheSamePlace) {
  const auto to = directory_.path() + "/backup";
  push("b", "another", "another layer");
  int others = 0;
  test::WatchedBlobStore watched(*stores_.blobs);
  watched.before_open = [&] {
    ++others;
    push("c", fmt::format("image {}", others), fmt::format("layer {}", others));
    const auto other = back_up(data_, *stores_.blobs, *stores_.metadata, clock_, to);
    ASSERT_FALSE(other);
    EXPECT_EQ(other.error().code, Code::kConflict);
    EXPECT_TRUE(other.error().message.contains(to)) << other.error().message;
  };

  const auto done = back_up(data_, watched, *stores_.metadata, clock_, to);

  ASSERT_TRUE(done) << done.error().message;
  EXPECT_EQ(others, 2);
  EXPECT_EQ(done->blobs, 2u);
  Stores copy(to, clock_);
  EXPECT_TRUE(fsck(*copy.blobs, *copy.metadata, false)->findings.empty());
  EXPECT_EQ(copy.metadata->repositories("", 9).value(), (std::vector<std::string>{"a", "b"}));
  EXPECT_TRUE(back_up(data_, *stores_.blobs, *stores_.metadata, clock_, to));
}

TEST_F(Maintenance, ABackupHasTheKeysAndTheAuditLogAsTheyAreNow) {
  const auto to = directory_.path() + "/backup";
  const auto text = [&](const std::string& name) {
    return std::string(as_text(read_file(to + "/" + name, 4 << 20).value()));
  };
  ASSERT_TRUE(back_up(data_, *stores_.blobs, *stores_.metadata, clock_, to));
  for (const auto* name : {"converter.key", "token.key", "audit.log"})
    EXPECT_FALSE(std::filesystem::exists(to + "/" + name)) << name;
  const std::string log(2'500'000, 'a');
  ASSERT_TRUE(replace_file(data_ + "/converter.key", as_bytes("what nodes trust"), 0600));
  ASSERT_TRUE(replace_file(data_ + "/token.key", as_bytes("an earlier key"), 0600));
  ASSERT_TRUE(replace_file(data_ + "/audit.log", as_bytes(log), 0640));
  ASSERT_TRUE(back_up(data_, *stores_.blobs, *stores_.metadata, clock_, to));
  ASSERT_TRUE(replace_file(data_ + "/token.key", as_bytes("key"), 0600));

  ASSERT_TRUE(back_up(data_, *stores_.blobs, *stores_.metadata, clock_, to));

  EXPECT_EQ(text("converter.key"), "what nodes trust");
  EXPECT_EQ(text("token.key"), "key");
  EXPECT_EQ(text("audit.log"), log);
  const auto none = std::filesystem::perms::group_all | std::filesystem::perms::others_all;
  for (const auto* name : {"converter.key", "token.key"})
    EXPECT_EQ(std::filesystem::status(to + "/" + name).permissions() & none,
              std::filesystem::perms::none)
        << name;
}

TEST_F(Maintenance, ABackupNamesWhatIsLostAndSavesEverythingElse) {
  const auto to = directory_.path() + "/backup";
  push("a", "bad", "damaged layer");
  push("a", "lost", "lost layer");
  push("z", "good", "good layer");
  ASSERT_TRUE(stores_.metadata->delete_manifest("a", digest("lost"), meta::Undo::kPossible));
  ASSERT_EQ(stores_.metadata->unlink_blob("a", digest("lost layer")).value(),
            meta::UnlinkOutcome::kRemoved);
  damage("damaged layer");
  ASSERT_TRUE(stores_.blobs->remove(digest("lost layer")).value());

  const auto done = back_up(data_, *stores_.blobs, *stores_.metadata, clock_, to).value();

  EXPECT_EQ(done.blobs, 2u);
  auto lost =
      std::vector{fmt::format("blob {} of a: it has other bytes", digest("damaged layer")),
                  fmt::format("blob {} of what was deleted: it is gone", digest("lost layer"))};
  std::ranges::sort(lost);
  EXPECT_EQ(done.lost, lost);
  Stores copy(to, clock_);
  EXPECT_EQ(fsck(*copy.blobs, *copy.metadata, false)->findings.size(), 2u);
  EXPECT_EQ(copy.blobs->size(digest("good layer")).value(), 10u);
  EXPECT_FALSE(copy.blobs->size(digest("damaged layer")).value());
  EXPECT_TRUE(copy.blobs->uploads()->empty());

  push_blob("a", "damaged layer");
  push_blob("a", "lost layer");
  EXPECT_TRUE(back_up(data_, *stores_.blobs, *stores_.metadata, clock_, to)->lost.empty());
  Stores again(to, clock_);
  EXPECT_TRUE(fsck(*again.blobs, *again.metadata, false)->findings.empty());
}

TEST_F(Maintenance, ABackupThatCannotBeWrittenEndsAndLeavesTheEarlierOne) {
  const auto to = directory_.path() + "/backup";
  ASSERT_TRUE(back_up(data_, *stores_.blobs, *stores_.metadata, clock_, to));
  push("b", "other", "other layer");
  ASSERT_TRUE(std::filesystem::remove_all(to + "/content/uploads") > 0);
  ASSERT_TRUE(replace_file(to + "/content/uploads", as_bytes("no directory")));

  EXPECT_FALSE(back_up(data_, *stores_.blobs, *stores_.metadata, clock_, to));

  Stores copy(to, clock_);
  EXPECT_EQ(copy.metadata->repositories("", 9).value(), std::vector<std::string>{"a"});
}

TEST_F(Maintenance, ADryRunEqualsTheRun) {
  push("a", "other", "other layer");
  push("b", "other", "other layer");
  push_blob("a", "loose");
  push("c", "kept", "kept layer");
  ASSERT_TRUE(
      stores_.metadata->delete_manifest("a", digest("image"), meta::Undo::kPossible).value());
  ASSERT_TRUE(stores_.metadata->delete_manifest("a", digest("other"), meta::Undo::kNever).value());
  clock_.advance(std::chrono::days(8));
  ASSERT_TRUE(stores_.metadata->delete_repository("b", meta::Undo::kPossible).value());
  const auto before = stores_.blobs->list({}, 100).value();

  const auto dry =
      collect_dry(*stores_.blobs, *stores_.metadata, clock_, kLifetime, kUndoTime).value();
  EXPECT_EQ(stores_.blobs->list({}, 100).value(), before);
  Collector collector(*stores_.blobs, *stores_.metadata, clock_, kLifetime, kUndoTime);
  const auto run = collector.collect().value();

  EXPECT_EQ(run.deletions, 1u);
  EXPECT_EQ(run.blobs, 2u);
  EXPECT_EQ(dry.collected.deletions, run.deletions);
  EXPECT_EQ(dry.collected.links, run.links);
  EXPECT_EQ(dry.collected.blobs, run.blobs);
  EXPECT_EQ(dry.collected.bytes, run.bytes);
  std::vector<oci::Digest> removed;
  for (const auto& each : before)
    if (!stores_.blobs->size(each.digest).value()) removed.push_back(each.digest);
  EXPECT_EQ(dry.blobs, removed);
  EXPECT_TRUE(findings().empty());
}

TEST_F(Maintenance, CountsLogicalUniqueAndSharedBytes) {
  push("b", "another", "layer");
  push_blob("b", "four");

  const auto usage = stores_.metadata->usage().value();

  ASSERT_EQ(usage.repositories.size(), 2u);
  EXPECT_EQ(usage.repositories[0].name, "a");
  EXPECT_EQ(usage.repositories[0].logical, 5u + 5u);  // "layer" and the manifest "image"
  EXPECT_EQ(usage.repositories[0].unique, 5u);
  EXPECT_EQ(usage.repositories[1].logical, 5u + 4u + 7u);
  EXPECT_EQ(usage.repositories[1].unique, 4u + 7u);
  EXPECT_EQ(usage.logical, 26u);
  EXPECT_EQ(usage.stored, 21u);
  EXPECT_EQ(usage.shared, 5u);
}

TEST_F(Maintenance, MeasuresWhatIsStored) {
  push("b", "another", "layer");
  push_blob("b", "four");
  ASSERT_TRUE(
      stores_.metadata->delete_manifest("a", digest("image"), meta::Undo::kPossible).value());

  const auto stored = meta::stored_in(data_ + "/metadata.sqlite").value();

  EXPECT_EQ(stored.blobs, 2u);
  EXPECT_EQ(stored.blob_bytes, 5u + 4u);
  EXPECT_GE(stored.metadata_bytes, 4096u);
  EXPECT_EQ(stored.metadata_bytes % 4096, 0u);
}

}  // namespace
}  // namespace runnel::registry
