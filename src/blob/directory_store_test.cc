#include "blob/directory_store.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <atomic>
#include <cerrno>
#include <filesystem>
#include <thread>

#include "base/durable.h"
#include "base/fd.h"
#include "support/blob_store_conformance.h"
#include "support/failing_disk.h"
#include "support/memory_blob_store.h"
#include "support/temp_dir.h"

namespace {

std::atomic<size_t> looks_at_files = 0;

}  // namespace

// In place of libc's: counts what this program looks at.
extern "C" int stat(const char* path, struct stat* info) noexcept {
  ++looks_at_files;
  return ::fstatat(AT_FDCWD, path, info, 0);
}

namespace runnel::blob {
namespace {

class DirectoryFixture final : public test::BlobStoreFixture {
 public:
  DirectoryFixture() { reopen(); }
  BlobStore& store() override { return *store_; }
  void reopen() override {
    store_.reset();
    store_ = DirectoryStore::open(directory_.path() + "/store").value();
  }

 private:
  test::TempDir directory_;
  std::unique_ptr<DirectoryStore> store_;
};

// Slow: every call lets another thread go first.
class MemoryFixture final : public test::BlobStoreFixture {
 public:
  BlobStore& store() override { return store_; }
  void reopen() override {}

 private:
  test::MemoryBlobStore store_{
      std::function<void()>([] { std::this_thread::sleep_for(std::chrono::milliseconds(1)); })};
};

INSTANTIATE_TEST_SUITE_P(Directory, BlobStoreConformance,
                         testing::Values([]() -> std::unique_ptr<test::BlobStoreFixture> {
                           return std::make_unique<DirectoryFixture>();
                         }));
INSTANTIATE_TEST_SUITE_P(Memory, BlobStoreConformance,
                         testing::Values([]() -> std::unique_ptr<test::BlobStoreFixture> {
                           return std::make_unique<MemoryFixture>();
                         }));

TEST(DirectoryStore, LooksOnceAtEachBlobOfADirectoryThatIsListedInManyPages) {
  const test::TempDir directory;
  const auto store = DirectoryStore::open(directory.path()).value();
  const auto blobs = directory.path() + "/blobs/sha256/ab/";
  std::filesystem::create_directories(blobs);
  constexpr size_t kBlobs = 60;
  for (size_t i = 0; i < kBlobs; ++i)
    ASSERT_TRUE(replace_file(blobs + fmt::format("ab{:062x}", i), as_bytes("x")));
  ASSERT_TRUE(replace_file(blobs + "no blob", as_bytes("x")));
  looks_at_files = 0;

  size_t listed = 0;
  for (oci::Digest after;;) {
    const auto page = store->list(after, 7).value();
    if (page.empty()) break;
    listed += page.size();
    after = page.back().digest;
  }

  EXPECT_EQ(listed, kBlobs);
  EXPECT_EQ(looks_at_files, kBlobs);
}

// A store with one blob, in which the sync of another fails.
class DirectoryStoreSync : public testing::Test {
 protected:
  DirectoryStoreSync() { EXPECT_TRUE(push("first")); }

  Result<void> push(std::string_view text) {
    RUNNEL_TRY(const auto writer, store_->open_upload("id", 0));
    RUNNEL_DO(writer->append(as_bytes(text)));
    return writer->commit(digest(text));
  }
  void fail_a_sync(int error) {
    {
      const test::FailingDisk failing(test::FailingDisk::At::kSync, 0, error);
      EXPECT_FALSE(push("lost"));
    }
    EXPECT_FALSE(store_->size(digest("lost")).value());
  }
  static oci::Digest digest(std::string_view text) { return oci::Digest::of(as_bytes(text)); }

  const test::TempDir directory_;
  const std::unique_ptr<DirectoryStore> store_ =
      DirectoryStore::open(directory_.path() + "/store").value();
};

TEST_F(DirectoryStoreSync, WritesNothingMoreWhenItFailedWithEio) {
  const auto begun = store_->open_upload("begun", 0).value();
  const auto unnamed = open_file(directory_.path(), O_TMPFILE | O_RDWR, 0600).value();

  fail_a_sync(EIO);

  EXPECT_EQ(push("second").error().code, Code::kUnavailable);
  EXPECT_EQ(begun->append(as_bytes("x")).error().code, Code::kUnavailable);
  EXPECT_EQ(begun->sync().error().code, Code::kUnavailable);
  EXPECT_EQ(begun->commit(digest("")).error().code, Code::kUnavailable);
  EXPECT_EQ(store_->begin_upload_with("other", unnamed.get()).error().code, Code::kUnavailable);
  EXPECT_EQ(store_->remove(digest("first")).error().code, Code::kUnavailable);
  EXPECT_EQ(store_->set_aside(digest("first")).error().code, Code::kUnavailable);
}

TEST_F(DirectoryStoreSync, ReadsOnWhenItFailedWithEio) {
  fail_a_sync(EIO);

  EXPECT_EQ(store_->size(digest("first")).value(), 5u);
  EXPECT_EQ(store_->list({}, 10)->size(), 1u);
  EXPECT_TRUE(DirectoryStore::open(directory_.path() + "/store").value()->open_upload("id", 0))
      << "another process has not seen it, and may write";
}

TEST_F(DirectoryStoreSync, WritesOnWhenTheDiskWasOnlyFull) {
  fail_a_sync(ENOSPC);

  EXPECT_TRUE(push("second"));
}

TEST(DirectoryStore, RefusesADirectoryThatHoldsSomethingElse) {
  const test::TempDir directory;
  ASSERT_TRUE(replace_file(directory.path() + "/lost+found.txt", as_bytes("x")));

  const auto store = DirectoryStore::open(directory.path());

  ASSERT_FALSE(store);
  EXPECT_EQ(store.error().code, Code::kConflict);
}

TEST(DirectoryStore, RefusesTheLayoutOfANewerVersion) {
  const test::TempDir directory;
  ASSERT_TRUE(replace_file(directory.path() + "/layout", as_bytes("runnel blobs 2\n")));

  const auto store = DirectoryStore::open(directory.path());

  ASSERT_FALSE(store);
  EXPECT_EQ(store.error().code, Code::kUnsupported);
}

TEST(DirectoryStore, DoesNotTakeALostDirectoryForAbsentBlobs) {
  const test::TempDir directory;
  const auto root = directory.path() + "/store";
  auto store = DirectoryStore::open(root).value();
  const auto digest = oci::Digest::of(as_bytes("x"));
  ASSERT_FALSE(store->size(digest).value());

  std::filesystem::rename(root, root + ".unmounted");

  EXPECT_EQ(store->size(digest).error().code, Code::kUnavailable);
  EXPECT_EQ(store->open(digest).error().code, Code::kUnavailable);
}

TEST(DirectoryStore, RemovesWhatAStartLeftThatWasKilled) {
  const test::TempDir directory;
  ASSERT_TRUE(DirectoryStore::open(directory.path()));
  const auto left = directory.path() + "/layout.tmp.1.0";
  ASSERT_TRUE(replace_file(left, as_bytes("runnel")));

  ASSERT_TRUE(DirectoryStore::open(directory.path()));

  EXPECT_FALSE(std::filesystem::exists(left));
}

TEST(DirectoryStore, GivesAnUploadBackThatAForkedProcessHasInherited) {
  const test::TempDir directory;
  const auto store = DirectoryStore::open(directory.path() + "/store").value();
  auto writer = store->open_upload("id", 0).value();
  int ends[2];
  ASSERT_EQ(::pipe2(ends, O_CLOEXEC), 0);
  UniqueFd end(ends[0]);
  UniqueFd held(ends[1]);
  const pid_t child = ::fork();
  ASSERT_GE(child, 0);
  if (child == 0) {
    char byte = 0;
    ::close(held.get());
    ::_exit(static_cast<int>(::read(end.get(), &byte, 1)));  // when the test lets go
  }

  writer.reset();
  const auto again = store->open_upload("id", 0);

  EXPECT_TRUE(again) << again.error().message;
  held.reset();
  ASSERT_EQ(::waitpid(child, nullptr, 0), child);
}

TEST(DirectoryStore, SharesUploadsBetweenProcesses) {
  const test::TempDir directory;
  auto one = DirectoryStore::open(directory.path() + "/store").value();
  auto other = DirectoryStore::open(directory.path() + "/store").value();

  auto writer = one->open_upload("id", 0).value();
  ASSERT_TRUE(writer->append(as_bytes("abc")));
  EXPECT_EQ(other->open_upload("id", 0).error().code, Code::kConflict);
  writer.reset();
  writer = other->open_upload("id", 3).value();
  ASSERT_TRUE(writer->commit(oci::Digest::of(as_bytes("abc"))));

  EXPECT_EQ(one->size(oci::Digest::of(as_bytes("abc"))).value(), 3u);
}

TEST(DirectoryStore, LeavesAFileOfAnotherFileSystemAlone) {
  const test::TempDir directory;
  auto store = DirectoryStore::open(directory.path() + "/store").value();
  const auto elsewhere = open_file("/dev/shm", O_TMPFILE | O_RDWR, 0600).value();
  ASSERT_TRUE(write_all_at(elsewhere.get(), as_bytes("abc"), 0));

  EXPECT_FALSE(store->begin_upload_with("id", elsewhere.get()).value());

  EXPECT_TRUE(store->uploads()->empty());
}

TEST(DirectoryStore, BeginsNoUploadOverOneThatIsThere) {
  const test::TempDir directory;
  auto store = DirectoryStore::open(directory.path() + "/store").value();
  ASSERT_TRUE(store->open_upload("id", 0).value()->append(as_bytes("first")));
  const auto file = open_file(directory.path(), O_TMPFILE | O_RDWR, 0600).value();

  EXPECT_EQ(store->begin_upload_with("id", file.get()).error().code, Code::kExists);

  EXPECT_EQ(store->open_upload("id", 5).value()->size(), 5u);
}

TEST(DirectoryStore, CannotBeLedOutOfItsDirectoryByAnUploadsName) {
  const test::TempDir directory;
  auto store = DirectoryStore::open(directory.path() + "/store").value();

  for (const auto* id : {"", "../layout", "a/b", ".", "A"}) {
    EXPECT_EQ(store->open_upload(id, 0).error().code, Code::kInvalid);
    EXPECT_EQ(store->begin_upload_with(id, -1).error().code, Code::kInvalid);
    EXPECT_EQ(store->discard_upload(id).error().code, Code::kInvalid);
  }
}

}  // namespace
}  // namespace runnel::blob
