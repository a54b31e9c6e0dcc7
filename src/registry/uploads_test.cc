#include "registry/uploads.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/stat.h>

#include <filesystem>

#include "blob/directory_store.h"
#include "meta/sqlite_store.h"
#include "support/fake_clock.h"
#include "support/temp_dir.h"

namespace runnel::registry {
namespace {

constexpr std::string_view kOwner = "user:alice";

constexpr auto kSha256 = oci::Algorithm::kSha256;

oci::Digest digest(std::string_view text, oci::Algorithm algorithm = kSha256) {
  return oci::Digest::of(as_bytes(text), algorithm);
}

// A process that works on the data directory.
struct Process {
  Process(const std::string& data, const Clock& clock)
      : blobs(blob::DirectoryStore::open(data + "/content").value()),
        metadata(meta::SqliteStore::open(data + "/metadata.sqlite", clock).value()),
        uploads(*blobs, *metadata, clock, std::chrono::hours(1)) {}

  std::unique_ptr<blob::DirectoryStore> blobs;
  std::unique_ptr<meta::SqliteStore> metadata;
  Uploads uploads;
};

class UploadsTest : public testing::Test {
 protected:
  void restart() {
    process_.reset();
    process_.emplace(directory_.path(), clock_);
  }
  Uploads& uploads() { return process_->uploads; }

  // Appends and acknowledges.
  void append(const std::string& id, std::string_view text) {
    auto receiving = uploads().receive("a", kOwner, id, kSha256).value();
    ASSERT_TRUE(receiving->append(as_bytes(text)));
    ASSERT_TRUE(receiving->keep());
  }
  Result<void> finish(const std::string& id, const oci::Digest& wanted) {
    auto receiving = uploads().receive("a", kOwner, id, wanted.algorithm()).value();
    return receiving->finish(wanted);
  }
  bool has_blob(const oci::Digest& wanted) {
    return process_->blobs->size(wanted).value() &&
           process_->metadata->blob_size("a", wanted).value();
  }

  const test::TempDir directory_;
  test::FakeClock clock_;
  std::optional<Process> process_{std::in_place, directory_.path(), clock_};
};

TEST_F(UploadsTest, BecomeALinkedBlob) {
  const auto upload = uploads().start("a", kOwner).value();
  append(upload.id, "abc");
  append(upload.id, "def");

  ASSERT_TRUE(finish(upload.id, digest("abcdef")));

  EXPECT_TRUE(has_blob(digest("abcdef")));
  EXPECT_FALSE(uploads().find("a", kOwner, upload.id).value());
  EXPECT_TRUE(process_->blobs->uploads()->empty());
}

TEST_F(UploadsTest, GoOnAfterARestartWhereTheyWereAcknowledged) {
  const auto upload = uploads().start("a", kOwner).value();
  append(upload.id, "abc");
  {
    auto receiving = uploads().receive("a", kOwner, upload.id, kSha256).value();
    ASSERT_TRUE(receiving->append(as_bytes("never acknowledged")));
  }
  restart();

  EXPECT_EQ(uploads().find("a", kOwner, upload.id).value()->received, 3u);
  append(upload.id, "def");
  ASSERT_TRUE(finish(upload.id, digest("abcdef")));

  EXPECT_TRUE(has_blob(digest("abcdef")));
}

TEST_F(UploadsTest, GoOnInAnotherProcess) {
  Process other(directory_.path(), clock_);
  const auto upload = uploads().start("a", kOwner).value();
  append(upload.id, "abc");
  {
    auto receiving = other.uploads.receive("a", kOwner, upload.id, kSha256).value();
    ASSERT_TRUE(receiving->append(as_bytes("def")));
    ASSERT_TRUE(receiving->keep());
  }
  append(upload.id, "ghi");

  ASSERT_TRUE(finish(upload.id, digest("abcdefghi")));
}

TEST_F(UploadsTest, AreNotTakenForBytesThatWereDropped) {
  const auto upload = uploads().start("a", kOwner).value();
  append(upload.id, "abc");
  {
    auto receiving = uploads().receive("a", kOwner, upload.id, kSha256).value();
    ASSERT_TRUE(receiving->append(as_bytes("def")));
    ASSERT_TRUE(receiving->drop());
  }
  append(upload.id, "xyz");

  EXPECT_FALSE(finish(upload.id, digest("abcdef")));
  EXPECT_FALSE(has_blob(digest("abcdef")));
}

TEST_F(UploadsTest, GoOnAfterARequestThatBroughtNothing) {
  const auto upload = uploads().start("a", kOwner).value();
  append(upload.id, "abc");
  uploads().receive("a", kOwner, upload.id, kSha256).value();
  uploads().receive("a", kOwner, upload.id, oci::Algorithm::kSha512).value();
  append(upload.id, "def");

  EXPECT_TRUE(finish(upload.id, digest("abcdef")));
}

TEST_F(UploadsTest, AreHashedAgainForAnotherAlgorithm) {
  const auto upload = uploads().start("a", kOwner).value();
  append(upload.id, "abc");

  ASSERT_TRUE(finish(upload.id, digest("abc", oci::Algorithm::kSha512)));

  EXPECT_TRUE(has_blob(digest("abc", oci::Algorithm::kSha512)));
}

TEST_F(UploadsTest, AreGoneWhenTheDigestIsWrong) {
  const auto upload = uploads().start("a", kOwner).value();
  append(upload.id, "abc");

  const auto outcome = finish(upload.id, digest("xyz"));

  ASSERT_FALSE(outcome);
  EXPECT_EQ(outcome.error().code, Code::kInvalid);
  EXPECT_FALSE(has_blob(digest("xyz")));
  EXPECT_FALSE(has_blob(digest("abc")));
  EXPECT_FALSE(uploads().find("a", kOwner, upload.id).value());
  EXPECT_TRUE(process_->blobs->uploads()->empty());
}

TEST_F(UploadsTest, BelongToTheirRepository) {
  const auto upload = uploads().start("a", kOwner).value();

  EXPECT_EQ(uploads().receive("b", kOwner, upload.id, kSha256).error().code, Code::kNotFound);
  EXPECT_FALSE(uploads().find("b", kOwner, upload.id).value());
  EXPECT_FALSE(uploads().cancel("b", kOwner, upload.id).value());
  EXPECT_EQ(uploads().receive("a", "user:bob", upload.id, kSha256).error().code, Code::kNotFound);
  EXPECT_FALSE(uploads().find("a", "user:bob", upload.id).value());
  EXPECT_FALSE(uploads().cancel("a", "user:bob", upload.id).value());
  EXPECT_TRUE(uploads().cancel("a", kOwner, upload.id).value());
}

TEST_F(UploadsTest, HaveOneRequestAtATime) {
  const auto upload = uploads().start("a", kOwner).value();
  const auto receiving = uploads().receive("a", kOwner, upload.id, kSha256).value();

  EXPECT_EQ(uploads().receive("a", kOwner, upload.id, kSha256).error().code, Code::kConflict);
}

TEST_F(UploadsTest, CannotBeFinishedOnceCancelled) {
  const auto upload = uploads().start("a", kOwner).value();
  auto receiving = uploads().receive("a", kOwner, upload.id, kSha256).value();
  ASSERT_TRUE(receiving->append(as_bytes("abc")));

  ASSERT_TRUE(uploads().cancel("a", kOwner, upload.id).value());

  EXPECT_EQ(receiving->finish(digest("abc")).error().code, Code::kNotFound);
  EXPECT_FALSE(has_blob(digest("abc")));
}

TEST_F(UploadsTest, GiveTheirSpaceBackWhenTheOnlyRequestIsDropped) {
  const auto upload = uploads().start("a", kOwner).value();
  {
    auto receiving = uploads().receive("a", kOwner, upload.id, kSha256).value();
    ASSERT_TRUE(receiving->append(as_bytes("abc")));
    ASSERT_TRUE(receiving->drop());
  }

  EXPECT_TRUE(process_->blobs->uploads()->empty());
  append(upload.id, "def");
  EXPECT_TRUE(finish(upload.id, digest("def")));
}

TEST_F(UploadsTest, GiveTheSpaceOfADroppedRequestBackAndKeepWhatWasAcknowledged) {
  const auto upload = uploads().start("a", kOwner).value();
  append(upload.id, "abc");
  {
    auto receiving = uploads().receive("a", kOwner, upload.id, kSha256).value();
    ASSERT_TRUE(receiving->append(as_bytes("def")));
    ASSERT_TRUE(receiving->drop());
  }

  EXPECT_EQ(std::filesystem::file_size(directory_.path() + "/content/uploads/" + upload.id), 3u);
  append(upload.id, "xyz");
  EXPECT_TRUE(finish(upload.id, digest("abcxyz")));
}

TEST_F(UploadsTest, AreThrownAwayWhenNobodyGoesOn) {
  const auto old = uploads().start("a", kOwner).value();
  append(old.id, "abc");
  clock_.advance(std::chrono::minutes(50));
  const auto young = uploads().start("a", kOwner).value();
  append(young.id, "abc");
  EXPECT_EQ(uploads().clean().value(), 0u);
  clock_.advance(std::chrono::minutes(20));

  EXPECT_EQ(uploads().clean().value(), 1u);

  EXPECT_FALSE(uploads().find("a", kOwner, old.id).value());
  EXPECT_TRUE(uploads().find("a", kOwner, young.id).value());
  EXPECT_EQ(process_->blobs->uploads().value(), std::vector{young.id});
}

TEST_F(UploadsTest, OfAnOwnerAreAbandonedTogetherAndNoOthers) {
  const auto first = uploads().start("a", "converter").value();
  const auto second = uploads().start("b", "converter").value();
  const auto other = uploads().start("a", kOwner).value();
  append(other.id, "abc");

  EXPECT_EQ(uploads().abandon("converter").value(), 2u);

  EXPECT_FALSE(uploads().find("a", "converter", first.id).value());
  EXPECT_FALSE(uploads().find("b", "converter", second.id).value());
  EXPECT_TRUE(uploads().find("a", kOwner, other.id).value());
  EXPECT_EQ(process_->blobs->uploads().value(), std::vector{other.id});
}

TEST_F(UploadsTest, WhoseRowACrashLostAreThrownAway) {
  ASSERT_TRUE(process_->blobs->open_upload("0123", 0).value()->append(as_bytes("abc")));

  EXPECT_EQ(uploads().clean().value(), 1u);

  EXPECT_TRUE(process_->blobs->uploads()->empty());
}

TEST_F(UploadsTest, TakeAFileWithoutReadingIt) {
  const auto upload = uploads().start("a", kOwner).value();
  auto file = open_file(directory_.path(), O_TMPFILE | O_RDWR, 0600).value();
  ASSERT_TRUE(write_all_at(file.get(), as_bytes("abc"), 0));

  auto receiving = uploads().adopt(upload, file.get(), 3, digest("abc")).value();

  ASSERT_NE(receiving, nullptr);
  EXPECT_EQ(receiving->size(), 3u);
  EXPECT_EQ(uploads().find("a", kOwner, upload.id).value()->received, 3u);
  EXPECT_FALSE(has_blob(digest("abc")));
  ASSERT_TRUE(receiving->finish(digest("abc")));
  EXPECT_TRUE(has_blob(digest("abc")));
  struct stat before;
  ASSERT_EQ(::fstat(file.get(), &before), 0);
  auto content = process_->blobs->open(digest("abc")).value();
  struct stat after;
  ASSERT_EQ(::fstat(std::get<blob::FileContent>(*content).file->get(), &after), 0);
  EXPECT_EQ(before.st_ino, after.st_ino);
}

TEST_F(UploadsTest, MakeNoBlobOfAFileUnderAnotherDigestThanItsOwn) {
  const auto upload = uploads().start("a", kOwner).value();
  auto file = open_file(directory_.path(), O_TMPFILE | O_RDWR, 0600).value();
  ASSERT_TRUE(write_all_at(file.get(), as_bytes("abc"), 0));
  auto receiving = uploads().adopt(upload, file.get(), 3, digest("abc")).value();

  EXPECT_EQ(receiving->finish(digest("def")).error().code, Code::kInvalid);

  EXPECT_FALSE(has_blob(digest("def")));
  EXPECT_TRUE(process_->blobs->uploads()->empty());
}

TEST_F(UploadsTest, ReadAFileThatTheyTookBeforeARestart) {
  const auto upload = uploads().start("a", kOwner).value();
  {
    auto file = open_file(directory_.path(), O_TMPFILE | O_RDWR, 0600).value();
    ASSERT_TRUE(write_all_at(file.get(), as_bytes("abc"), 0));
    // The digest is the word of a process that is gone then.
    ASSERT_TRUE(uploads().adopt(upload, file.get(), 3, digest("wrong")));
  }
  restart();

  EXPECT_TRUE(finish(upload.id, digest("abc")));
  EXPECT_TRUE(has_blob(digest("abc")));
}

}  // namespace
}  // namespace runnel::registry
