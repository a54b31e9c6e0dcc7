#include "meta/sqlite_store.h"

#include <gtest/gtest.h>

#include <thread>

#include "base/durable.h"
#include "support/deletion_conformance.h"
#include "support/memory_metadata_store.h"
#include "support/metadata_store_conformance.h"
#include "support/temp_dir.h"

namespace runnel::meta {
namespace {

class SqliteFixture final : public test::MetadataStoreFixture {
 public:
  SqliteFixture() { reopen(); }
  MetadataStore& store() override { return *store_; }
  std::unique_ptr<MetadataStore> second() override { return open(); }
  test::FakeClock& clock() override { return clock_; }
  void reopen() override {
    store_.reset();
    store_ = open();
  }

 private:
  std::unique_ptr<SqliteStore> open() {
    return SqliteStore::open(directory_.path() + "/metadata.sqlite", clock_).value();
  }

  test::TempDir directory_;
  test::FakeClock clock_;
  std::unique_ptr<SqliteStore> store_;
};

INSTANTIATE_TEST_SUITE_P(Sqlite, MetadataStoreConformance,
                         testing::Values([]() -> std::unique_ptr<test::MetadataStoreFixture> {
                           return std::make_unique<SqliteFixture>();
                         }));

INSTANTIATE_TEST_SUITE_P(Sqlite, DeletionConformance,
                         testing::Values([]() -> std::unique_ptr<test::MetadataStoreFixture> {
                           return std::make_unique<SqliteFixture>();
                         }));

// Slow: every call lets another thread go first.
class MemoryFixture final : public test::MetadataStoreFixture {
 public:
  MetadataStore& store() override { return *store_; }
  std::unique_ptr<MetadataStore> second() override { return open(); }
  test::FakeClock& clock() override { return clock_; }
  void reopen() override { store_ = open(); }

 private:
  std::unique_ptr<MetadataStore> open() {
    return std::make_unique<test::MemoryMetadataStore>(
        data_, clock_, [] { std::this_thread::sleep_for(std::chrono::milliseconds(1)); });
  }

  test::FakeClock clock_;
  const std::shared_ptr<test::MemoryMetadataStore::Data> data_ =
      test::MemoryMetadataStore::new_data();
  std::unique_ptr<MetadataStore> store_ = open();
};

const auto kMemory = testing::Values([]() -> std::unique_ptr<test::MetadataStoreFixture> {
  return std::make_unique<MemoryFixture>();
});
INSTANTIATE_TEST_SUITE_P(Memory, MetadataStoreConformance, kMemory);
INSTANTIATE_TEST_SUITE_P(Memory, DeletionConformance, kMemory);

class SqliteFile : public testing::Test {
 protected:
  auto open() { return SqliteStore::open(path_, clock_); }

  test::TempDir directory_;
  SystemClock clock_;
  const std::string path_ = directory_.path() + "/metadata.sqlite";
};

TEST_F(SqliteFile, TellsOfEveryCommitAndOfNothingElse) {
  const auto store = open().value();
  const auto other_process = open().value();
  const auto digest = oci::Digest::of(as_bytes("a blob"));
  const auto watch = store->watch_changes().value();
  ASSERT_NE(watch, nullptr);
  auto version = watch->version().value();
  const auto changed = [&] {
    const auto before = std::exchange(version, watch->version().value());
    return version != before;
  };
  for (auto* each : {store.get(), other_process.get()}) {
    EXPECT_FALSE(changed());
    EXPECT_TRUE(each->blob_size("a", digest));
    EXPECT_FALSE(changed());
    ASSERT_TRUE(each->link_blob("a", digest, 6));
    EXPECT_TRUE(changed());
    ASSERT_TRUE(each->put_document("kind", "name", "{}", 0));
    EXPECT_TRUE(changed());
    ASSERT_TRUE(each->create_upload({.id = "u", .repository = "a", .owner = "", .expires = {}}));
    EXPECT_TRUE(changed());
    ASSERT_TRUE(each->delete_document("kind", "name"));
    EXPECT_TRUE(changed());
    ASSERT_TRUE(each->delete_upload("a", "u"));
    EXPECT_TRUE(changed());
    ASSERT_TRUE(each->unlink_blob("a", digest));
    EXPECT_TRUE(changed());
    EXPECT_FALSE(changed());
  }
}

// With 12 images, each of which has a layer of its own and a tag.
Result<void> put_repository(SqliteStore& store) {
  for (int i = 0; i < 12; ++i) {
    const auto text = fmt::format("manifest {}", i);
    NewManifest made;
    made.digest = oci::Digest::of(as_bytes(text));
    made.media_type = "application/x";
    made.bytes = as_bytes(text);
    made.blobs = {oci::Digest::of(as_bytes(fmt::format("layer {}", i)))};
    made.tags = {fmt::format("v{}", i)};
    RUNNEL_DO(store.link_blob("a", made.blobs.front(), 1));
    RUNNEL_DO(store.put_manifest("a", made));
  }
  return {};
}

// Each piece is one transaction: others write in between, and a crash leaves what is seen here.
TEST_F(SqliteFile, ForgetsARepositoryInPiecesAndIsWholeAfterEach) {
  auto store = open().value();
  ASSERT_TRUE(put_repository(*store));
  ASSERT_TRUE(store->delete_repository("a", Undo::kPossible).value());
  const auto count = [&] {
    return store->all_manifests(0, 100)->size() + store->linked_blobs({}, 100)->size();
  };
  const auto tomorrow = clock_.wall() + std::chrono::hours(24);
  constexpr size_t kPiece = 5;

  size_t left = count();
  size_t pieces = 0;
  for (bool more = true; more; ++pieces) {
    more = store->forget_deletions(tomorrow, kPiece)->more;
    EXPECT_GE(count() + kPiece, left);
    left = count();
    store.reset();
    store = open().value();
    EXPECT_EQ(store->find_damage().value(), std::vector<std::string>());
    EXPECT_TRUE(store->deletions("", std::numeric_limits<int64_t>::max(), 10)->empty());
  }

  EXPECT_EQ(left, 0u);
  EXPECT_GE(pieces, 3 * 12 / kPiece);
}

TEST_F(SqliteFile, EndsWhatAnotherProcessBeganToForget) {
  ASSERT_TRUE(put_repository(*open().value()));
  {
    const auto dying = open().value();
    ASSERT_TRUE(dying->delete_repository("a", Undo::kPossible).value());
    ASSERT_TRUE(dying->forget_deletions(clock_.wall() + std::chrono::hours(1), 5)->more);
  }

  // However young the deletion is.
  const auto store = open().value();
  const auto long_ago = clock_.wall() - std::chrono::hours(1);
  while (store->forget_deletions(long_ago, 5)->more) continue;

  EXPECT_TRUE(store->all_manifests(0, 100)->empty());
  EXPECT_TRUE(store->linked_blobs({}, 100)->empty());
}

// Somebody waits for the call, and others need the thread that it takes.
TEST_F(SqliteFile, LeavesTheRestOfALargePurgeToLater) {
  const auto store = open().value();
  NewManifest made;
  made.digest = oci::Digest::of(as_bytes("manifest"));
  made.bytes = as_bytes("manifest");
  for (int i = 0; i < 3000; ++i) made.tags.push_back(fmt::format("v{}", i));
  const auto newest = [&] {
    return store->deletions("", std::numeric_limits<int64_t>::max(), 1).value();
  };
  for (const auto undo : {Undo::kPossible, Undo::kNever}) {
    ASSERT_TRUE(store->put_manifest("a", made));
    ASSERT_TRUE(store->delete_repository("a", undo).value());
    const auto deleted = newest();
    EXPECT_EQ(deleted.size(), undo == Undo::kPossible ? 1u : 0u);
    for (const auto& each : deleted) EXPECT_TRUE(store->forget(each.id).value());

    EXPECT_FALSE(store->all_manifests(0, 1)->empty()) << "all of it was forgotten at once";
    EXPECT_TRUE(newest().empty());
    for (const auto& each : deleted) {
      EXPECT_FALSE(store->forget(each.id).value());
      EXPECT_EQ(store->restore(each.id).value(), std::nullopt);
    }

    while (store->forget_deletions(WallTime(), 200)->more) continue;
    EXPECT_TRUE(store->all_manifests(0, 1)->empty());
  }
}

TEST_F(SqliteFile, SaysThatItIsDamaged) {
  const auto store = open().value();
  const auto digest = oci::Digest::of(as_bytes("blob"));
  const auto connection = Connection::open(path_, Connection::Durability::kEveryCommit).value();
  ASSERT_TRUE(
      connection->script("CREATE TRIGGER loses AFTER INSERT ON repositories "
                         "BEGIN DELETE FROM repositories; END"));
  EXPECT_EQ(store->link_blob("a", digest, 1).error().code, Code::kUnavailable);
  ASSERT_TRUE(connection->script("DROP TRIGGER loses"));

  ASSERT_TRUE(store->link_blob("a", digest, 1));
  ASSERT_TRUE(connection->script("UPDATE blob_links SET digest = 'sha256:0'"));
  EXPECT_EQ(store->linked_blobs({}, 10).error().code, Code::kUnavailable);
}

TEST_F(SqliteFile, OfANewerProgramIsRefused) {
  ASSERT_TRUE(open());
  auto connection = Connection::open(path_, Connection::Durability::kEveryCommit).value();
  ASSERT_TRUE(connection->script("PRAGMA user_version = 1000"));

  const auto store = open();

  ASSERT_FALSE(store);
  EXPECT_EQ(store.error().code, Code::kUnsupported);
}

TEST_F(SqliteFile, OfAnOlderProgramIsBroughtUpToDate) {
  {
    const auto store = open().value();
    ASSERT_TRUE(store->link_blob("a", oci::Digest::of(as_bytes("x")), 1));
    NewManifest manifest;
    manifest.digest = oci::Digest::of(as_bytes("m"));
    manifest.descriptor.digest = manifest.digest;
    manifest.bytes = as_bytes("m");
    manifest.blobs = {oci::Digest::of(as_bytes("x"))};
    ASSERT_TRUE(store->put_manifest("a", manifest));
  }
  {
    // As the first version made it.
    auto connection = Connection::open(path_, Connection::Durability::kEveryCommit).value();
    ASSERT_TRUE(
        connection->script("DROP TABLE operations;"
                           "CREATE TABLE old (digest TEXT NOT NULL, manifest INTEGER NOT NULL "
                           "REFERENCES manifests ON DELETE CASCADE, kind INTEGER NOT NULL, "
                           "PRIMARY KEY (digest, manifest, kind)) WITHOUT ROWID;"
                           "INSERT INTO old SELECT digest, manifest, kind FROM "
                           "manifest_references; DROP TABLE manifest_references;"
                           "ALTER TABLE old RENAME TO manifest_references;"
                           "DROP TRIGGER blob_link_goes; DROP TABLE unlinked_blobs;"
                           "DROP INDEX manifests_by_subject; CREATE INDEX manifests_by_subject "
                           "ON manifests (repository, subject, id) WHERE subject IS NOT NULL;"
                           "DROP INDEX blob_links_to_review; DROP INDEX manifests_by_deletion;"
                           "DROP INDEX repositories_by_deletion; DROP TABLE deleted_tags;"
                           "DROP TABLE deletions; ALTER TABLE blob_links DROP COLUMN review;"
                           "ALTER TABLE blob_links DROP COLUMN hidden;"
                           "ALTER TABLE manifests DROP COLUMN deletion;"
                           "ALTER TABLE repositories DROP COLUMN deletion;"
                           "DROP TABLE documents; ALTER TABLE uploads DROP COLUMN owner;"
                           "PRAGMA user_version = 1"));
  }

  const auto store = open();

  ASSERT_TRUE(store) << store.error().message;
  EXPECT_TRUE((*store)->blob_size("a", oci::Digest::of(as_bytes("x"))).value());
  EXPECT_EQ((*store)->unlink_blob("a", oci::Digest::of(as_bytes("x"))).value(),
            UnlinkOutcome::kReferenced);
  EXPECT_TRUE((*store)->put_document("map", "a", "1", 0));
  EXPECT_TRUE((*store)->delete_repository("a", Undo::kPossible).value());
}

// Before the eighth version, layers that may lie elsewhere were not kept for their manifest.
TEST_F(SqliteFile, OfAnOlderProgramKeepsTheLayersThatItsManifestsName) {
  const auto digest = [](std::string_view text) { return oci::Digest::of(as_bytes(text)); };
  const auto image =
      fmt::format(R"({{"layers":[{{"digest":"{}"}},{{"digest":"{}","urls":["https://e"]}}]}})",
                  digest("layer"), digest("elsewhere"));
  {
    const auto store = open().value();
    const auto put = [&](std::string_view bytes, std::vector<oci::Digest> blobs) {
      NewManifest manifest;
      manifest.digest = digest(bytes);
      manifest.descriptor.digest = manifest.digest;
      manifest.bytes = as_bytes(bytes);
      manifest.blobs = std::move(blobs);
      ASSERT_TRUE(store->put_manifest("a", manifest)->missing.empty());
    };
    for (const auto* text : {"layer", "elsewhere", "loose"})
      ASSERT_TRUE(store->link_blob("a", digest(text), 1));
    put(image, {digest("layer")});
    for (const auto* text :
         {"damaged \xff", R"({"layers":[1,"x",null,{},{"digest":2}]})",
          R"({"layers":{"digest":"x"}})", R"(["layers"])", R"({"manifests":[]})"})
      put(text, {});
    auto connection = Connection::open(path_, Connection::Durability::kEveryCommit).value();
    ASSERT_TRUE(connection->script("PRAGMA user_version = 7"));
  }

  const auto store = open();

  ASSERT_TRUE(store) << store.error().message;
  const auto later = clock_.wall() + std::chrono::hours(1);
  EXPECT_EQ((*store)->unlink_unreferenced(later, 10).value(), (Reviewed{3, 1}));
  EXPECT_TRUE((*store)->blob_size("a", digest("elsewhere")).value());
  EXPECT_EQ((*store)->unlink_blob("a", digest("elsewhere")).value(), UnlinkOutcome::kReferenced);
  auto connection = Connection::open(path_, Connection::Durability::kEveryCommit).value();
  auto rows = connection->query("SELECT count(*) FROM manifest_references").value();
  ASSERT_TRUE(rows.next().value());
  EXPECT_EQ(rows.integer(0), 2) << "one for each layer that a manifest names";
}

TEST_F(SqliteFile, OfAnotherProgramIsRefusedAndLeftAlone) {
  auto connection = Connection::open(path_, Connection::Durability::kEveryCommit).value();
  ASSERT_TRUE(connection->script("CREATE TABLE theirs (id INTEGER)"));

  const auto store = open();

  ASSERT_FALSE(store);
  EXPECT_EQ(store.error().code, Code::kConflict);
  auto tables = connection->query("SELECT count(*) FROM sqlite_master").value();
  ASSERT_TRUE(tables.next().value());
  EXPECT_EQ(tables.integer(0), 1);
}

TEST_F(SqliteFile, ThatIsNoDatabaseIsRefused) {
  ASSERT_TRUE(replace_file(path_, as_bytes(std::string(5000, 'x'))));

  EXPECT_FALSE(open());
}

TEST_F(SqliteFile, IsMadeOnceByProcessesThatStartTogether) {
  std::vector<std::thread> threads;
  std::atomic<int> opened = 0;
  for (int i = 0; i < 4; ++i)
    threads.emplace_back([&] {
      if (open()) ++opened;
    });
  for (auto& thread : threads) thread.join();

  EXPECT_EQ(opened, 4);
}

TEST_F(SqliteFile, TakesWritesFromManyThreadsAndProcesses) {
  const auto one = open().value();
  const auto other = open().value();
  std::vector<std::thread> threads;
  for (int t = 0; t < 4; ++t)
    threads.emplace_back([&, t] {
      auto& store = t % 2 == 0 ? *one : *other;
      for (int i = 0; i < 20; ++i) {
        const auto text = fmt::format("{} {}", t, i);
        EXPECT_TRUE(store.link_blob("a", oci::Digest::of(as_bytes(text)), 1));
        EXPECT_TRUE(store.blob_size("a", oci::Digest::of(as_bytes(text))).value());
      }
    });
  for (auto& thread : threads) thread.join();

  for (int t = 0; t < 4; ++t)
    for (int i = 0; i < 20; ++i)
      EXPECT_TRUE(
          one->blob_size("a", oci::Digest::of(as_bytes(fmt::format("{} {}", t, i)))).value());
}

TEST_F(SqliteFile, UndoesATransactionThatIsNotCommitted) {
  auto connection = Connection::open(path_, Connection::Durability::kEveryCommit).value();
  ASSERT_TRUE(connection->script("CREATE TABLE t (id INTEGER)"));
  {
    auto transaction = Transaction::write(*connection).value();
    ASSERT_EQ(connection->run("INSERT INTO t VALUES (?)", {int64_t{1}}).value(), 1);
  }

  auto rows = connection->query("SELECT count(*) FROM t").value();

  ASSERT_TRUE(rows.next().value());
  EXPECT_EQ(rows.integer(0), 0);
}

TEST_F(SqliteFile, AQueryKeepsItsOwnCopiesOfWhatItIsAsked) {
  auto connection = Connection::open(path_, Connection::Durability::kEveryCommit).value();
  std::string name(100, 'a');
  auto rows = connection->query("SELECT ? || 'b'", {name}).value();
  name.assign(100, 'x');

  ASSERT_TRUE(rows.next().value());
  EXPECT_EQ(rows.text(0), std::string(100, 'a') + "b");
}

}  // namespace
}  // namespace runnel::meta
