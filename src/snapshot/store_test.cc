#include "snapshot/store.h"

#include <gtest/gtest.h>
#include <sqlite3.h>
#include <sys/stat.h>

#include <algorithm>
#include <functional>

#include "base/durable.h"
#include "support/temp_dir.h"

namespace runnel::snapshot {
namespace {

class StoreTest : public testing::Test {
 protected:
  void SetUp() override { open(); }

  void open() {
    store_.reset();
    store_ = Store::open(path(), clock_).value();
  }
  std::string path() const { return dir_.path() + "/snapshots.db"; }

  Result<Record> create(Kind kind, const std::string& key, const std::string& parent,
                        const Labels& labels = {}) {
    return store_->create(store_->next_number(), kind, key, parent, labels);
  }
  void committed(const std::string& name, const std::string& parent) {
    ASSERT_TRUE(create(Kind::kActive, name + "-active", parent));
    ASSERT_TRUE(store_->commit(name + "-active", name, {}, {}));
  }
  static Code code(const auto& result) { return result.error().code; }

  test::TempDir dir_;
  SystemClock clock_;
  std::unique_ptr<Store> store_;
};

TEST_F(StoreTest, KeepsTheNumberWhenAnActiveSnapshotIsCommitted) {
  const auto active = create(Kind::kActive, "a", "", {{"x", "1"}}).value();

  ASSERT_TRUE(store_->commit("a", "A", {{"y", "2"}}, {.bytes = 10, .inodes = 2}));

  const auto record = store_->get("A").value();
  EXPECT_EQ(record.number, active.number);
  EXPECT_EQ(record.info.kind, Kind::kCommitted);
  EXPECT_EQ(record.info.labels, (Labels{{"y", "2"}}));  // replaced, not inherited
  EXPECT_EQ(record.usage, (Usage{.bytes = 10, .inodes = 2}));
  EXPECT_GE(record.info.created, active.info.created);
  EXPECT_EQ(code(store_->get("a")), Code::kNotFound);
}

TEST_F(StoreTest, NeverUsesANumberTwiceEvenAfterRemovalAndRestart) {
  const auto first = create(Kind::kActive, "a", "").value();
  ASSERT_TRUE(store_->remove("a"));

  open();

  EXPECT_GT(create(Kind::kActive, "b", "").value().number, first.number);
}

TEST_F(StoreTest, ListsAllThatIsThereHoweverMuch) {
  constexpr size_t kMany = 300;
  committed("A", "");
  for (size_t i = 1; i < kMany; ++i) ASSERT_TRUE(create(Kind::kView, fmt::format("v{}", i), "A"));

  const auto all = store_->list().value();

  ASSERT_EQ(all.size(), kMany);
  EXPECT_TRUE(std::ranges::is_sorted(all, std::less_equal(), &Record::number));
  EXPECT_EQ(store_->children("A")->size(), kMany - 1);
  EXPECT_EQ(store_->children("")->size(), 1u);
}

TEST_F(StoreTest, KeepsAllItWasToldOverARestart) {
  committed("A", "");
  ASSERT_TRUE(store_->create_streamed("S", "A", "sha256:s", {{"l", "v"}}));
  ASSERT_TRUE(create(Kind::kView, "v", "S"));
  const auto before = store_->list().value();

  open();

  const auto after = store_->list().value();
  ASSERT_EQ(after.size(), 3u);
  for (size_t i = 0; i < 3; ++i) {
    EXPECT_EQ(after[i].info, before[i].info);
    EXPECT_EQ(after[i].number, before[i].number);
    EXPECT_EQ(after[i].chain_id, before[i].chain_id);
  }
}

TEST_F(StoreTest, KnowsWhichChainsAreUnpackedTheOrdinaryWay) {
  committed("k8s.io/7/sha256:a", "");
  committed("sha256:b", "");
  ASSERT_TRUE(create(Kind::kActive, "k8s.io/8/extract-1 sha256:c", ""));
  ASSERT_TRUE(create(Kind::kActive, "k8s.io/9/sha256:c", ""));
  ASSERT_TRUE(store_->create_streamed("sha256:s", "", "sha256:s", {}));

  EXPECT_TRUE(store_->chain_is_unpacked("sha256:a").value());
  EXPECT_TRUE(store_->chain_is_unpacked("sha256:b").value());
  EXPECT_FALSE(store_->chain_is_unpacked("a").value());
  EXPECT_FALSE(store_->chain_is_unpacked("sha256:c").value()) << "not committed";
  EXPECT_FALSE(store_->chain_is_unpacked("sha256:s").value()) << "streamed";
}

TEST_F(StoreTest, ChecksParentsBeforeItInserts) {
  ASSERT_TRUE(create(Kind::kActive, "a", ""));
  ASSERT_TRUE(create(Kind::kView, "v", ""));

  EXPECT_EQ(code(create(Kind::kActive, "b", "absent")), Code::kNotFound);
  EXPECT_EQ(code(create(Kind::kActive, "b", "a")), Code::kInvalid);
  EXPECT_EQ(code(create(Kind::kView, "b", "v")), Code::kInvalid);
  EXPECT_EQ(code(store_->create_streamed("b", "a", "sha256:b", {})), Code::kInvalid);
  EXPECT_EQ(store_->list()->size(), 2u);
}

TEST_F(StoreTest, KeepsKeysAndNamesUniqueTogether) {
  committed("A", "");
  ASSERT_TRUE(create(Kind::kActive, "a", "A"));

  EXPECT_EQ(code(create(Kind::kActive, "a", "")), Code::kExists);
  EXPECT_EQ(code(create(Kind::kView, "A", "")), Code::kExists);
  EXPECT_EQ(code(store_->commit("a", "A", {}, {})), Code::kExists);
  EXPECT_EQ(code(store_->create_streamed("a", "", "sha256:a", {})), Code::kExists);
}

TEST_F(StoreTest, CommitsOnlyWhatIsActive) {
  committed("A", "");
  ASSERT_TRUE(create(Kind::kView, "v", "A"));

  EXPECT_EQ(code(store_->commit("A", "B", {}, {})), Code::kConflict);
  EXPECT_EQ(code(store_->commit("v", "B", {}, {})), Code::kConflict);
  EXPECT_EQ(code(store_->commit("absent", "B", {}, {})), Code::kNotFound);
}

TEST_F(StoreTest, RemovesFromTheTopOnly) {
  committed("A", "");
  committed("B", "A");
  ASSERT_TRUE(create(Kind::kActive, "c", "B"));

  EXPECT_EQ(code(store_->remove("A")), Code::kConflict);
  EXPECT_EQ(code(store_->remove("B")), Code::kConflict);
  EXPECT_TRUE(store_->remove("c"));
  EXPECT_TRUE(store_->remove("B"));
  EXPECT_TRUE(store_->remove("A"));
  EXPECT_EQ(code(store_->remove("A")), Code::kNotFound);
}

TEST_F(StoreTest, WalksDownToTheLowestParent) {
  committed("A", "");
  committed("B", "A");
  ASSERT_TRUE(create(Kind::kActive, "c", "B"));

  const auto chain = store_->chain("c").value();

  ASSERT_EQ(chain.size(), 3u);
  EXPECT_EQ(chain[0].info.name, "c");
  EXPECT_EQ(chain[1].info.name, "B");
  EXPECT_EQ(chain[2].info.name, "A");
}

TEST_F(StoreTest, WalksNoFurtherThanToWhatStreams) {
  ASSERT_TRUE(store_->create_streamed("S", "", "sha256:s", {}));
  ASSERT_TRUE(store_->create_streamed("T", "S", "sha256:t", {}));
  committed("A", "T");

  const auto chain = store_->chain("A").value();

  ASSERT_EQ(chain.size(), 2u);
  EXPECT_EQ(chain[0].info.name, "A");
  EXPECT_EQ(chain[1].info.name, "T");
  EXPECT_EQ(store_->chain("T").value().size(), 1u);
}

TEST_F(StoreTest, ReturnsWhatItKeptOfANewSnapshot) {
  const auto made = create(Kind::kActive, "a", "", {{"empty", ""}, {"x", "1"}}).value();

  const auto kept = store_->get("a").value();
  EXPECT_EQ(made.info, kept.info);
  EXPECT_EQ(made.number, kept.number);
  EXPECT_EQ(made.chain_id, kept.chain_id);
  EXPECT_EQ(made.usage, kept.usage);
}

TEST_F(StoreTest, KnowsWhoUsesAChain) {
  ASSERT_TRUE(store_->create_streamed("one", "", "sha256:1", {}));
  ASSERT_TRUE(store_->create_streamed("two", "one", "sha256:2", {}));
  committed("ordinary", "one");

  EXPECT_TRUE(store_->chain_is_held("sha256:1").value());
  EXPECT_FALSE(store_->chain_is_held("sha256:3").value());
  EXPECT_FALSE(store_->chain_is_used("sha256:1").value());

  ASSERT_TRUE(create(Kind::kActive, "c", "two"));
  EXPECT_FALSE(store_->chain_is_used("sha256:1").value());  // "two" shows what is below it
  EXPECT_TRUE(store_->chain_is_used("sha256:2").value());

  ASSERT_TRUE(create(Kind::kView, "v", "ordinary"));
  EXPECT_TRUE(store_->chain_is_used("sha256:1").value());
}

TEST_F(StoreTest, DropsEmptyLabelsAndRefusesHugeOnes) {
  const auto record = create(Kind::kActive, "a", "", {{"empty", ""}, {"x", "1"}}).value();

  EXPECT_EQ(record.info.labels, (Labels{{"x", "1"}}));
  EXPECT_TRUE(create(Kind::kActive, "b", "", {{"key", std::string(4093, 'v')}}));
  EXPECT_EQ(code(create(Kind::kActive, "c", "", {{"key", std::string(4094, 'v')}})),
            Code::kInvalid);
  EXPECT_EQ(code(create(Kind::kActive, std::string(4097, 'k'), "")), Code::kInvalid);
  EXPECT_EQ(code(create(Kind::kActive, "", "")), Code::kInvalid);
}

TEST_F(StoreTest, KeepsNamesAndLabelsOfAnyCharacters) {
  const std::string name = "ns/1/ü \"quoted\" 'x' %_ \n";
  ASSERT_TRUE(create(Kind::kActive, name, "", {{name, "\x01 \\ \"\xe2\x82\xac"}}));

  open();

  EXPECT_EQ(store_->get(name)->info.labels, (Labels{{name, "\x01 \\ \"\xe2\x82\xac"}}));
}

// They would stand in JSON that nobody can read, and with them every list of snapshots.
TEST_F(StoreTest, TakesNoLabelsThatItCouldNotReadAgain) {
  ASSERT_TRUE(create(Kind::kActive, "a", ""));

  EXPECT_EQ(code(create(Kind::kActive, "b", "", {{"key", "\xff"}})), Code::kInvalid);
  EXPECT_EQ(code(store_->commit("a", "A", {{"\xc3", "value"}}, {})), Code::kInvalid);
  EXPECT_EQ(store_->list()->size(), 1u);
}

TEST_F(StoreTest, ChangesNoLabelWhenTheChangeFails) {
  ASSERT_TRUE(create(Kind::kActive, "a", "", {{"x", "1"}}));

  const auto changed = store_->change_labels("a", [](Labels& labels) -> Result<void> {
    labels["x"] = "2";
    return fail(Code::kInvalid, "no");
  });

  EXPECT_EQ(code(changed), Code::kInvalid);
  EXPECT_EQ(store_->get("a")->info.labels, (Labels{{"x", "1"}}));
  EXPECT_EQ(code(store_->change_labels("absent", [](Labels&) { return Result<void>(); })),
            Code::kNotFound);
}

TEST_F(StoreTest, IsReadByItsOwnerOnlyWhateverItsFilesModesWere) {
  const auto mode = [](const std::string& file) {
    struct stat info{};
    return ::stat(file.c_str(), &info) == 0 ? info.st_mode & 0777U : 0;
  };
  committed("A", "");
  ASSERT_EQ(mode(path()), 0600U);
  ASSERT_EQ(mode(path() + "-wal"), 0600U);

  store_.reset();
  ASSERT_EQ(::chmod(path().c_str(), 0644), 0);
  ASSERT_TRUE(replace_file(path() + "-wal", {}, 0644));  // as a death leaves it behind
  open();
  committed("B", "A");

  EXPECT_EQ(mode(path()), 0600U);
  EXPECT_EQ(mode(path() + "-wal"), 0600U);
}

TEST_F(StoreTest, SaysWhichRecordIsDamagedAndBelievesNothingOfIt) {
  committed("A", "");
  store_.reset();
  sqlite3* database = nullptr;
  ASSERT_EQ(sqlite3_open(path().c_str(), &database), SQLITE_OK);
  ASSERT_EQ(sqlite3_exec(database, "UPDATE snapshots SET kind = 259", nullptr, nullptr, nullptr),
            SQLITE_OK);
  sqlite3_close(database);
  open();

  const auto record = store_->get("A");

  ASSERT_EQ(code(record), Code::kUnavailable);
  EXPECT_EQ(record.error().message, "snapshot database: the kind of \"A\" is damaged");
}

TEST_F(StoreTest, RefusesADatabaseOfANewerProgramAndAFileThatIsNone) {
  store_.reset();
  sqlite3* database = nullptr;
  ASSERT_EQ(sqlite3_open(path().c_str(), &database), SQLITE_OK);
  sqlite3_exec(database, "PRAGMA user_version = 99", nullptr, nullptr, nullptr);
  sqlite3_close(database);

  EXPECT_EQ(code(Store::open(path(), clock_)), Code::kUnsupported);
  EXPECT_EQ(code(Store::open(dir_.path() + "/absent/db", clock_)), Code::kUnavailable);
}

}  // namespace
}  // namespace runnel::snapshot
