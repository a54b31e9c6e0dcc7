#include "blob/open_files.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/stat.h>

#include <filesystem>

#include "base/durable.h"
#include "support/temp_dir.h"

namespace runnel::blob {

namespace {

class OpenFilesTest : public testing::Test {
 protected:
  static constexpr WallTime kLater = WallTime::max();  // than any change

  std::string path(std::string_view text) { return directory_.path() + "/" + std::string(text); }
  oci::Digest write(std::string_view text) {
    EXPECT_TRUE(replace_file(path(text), as_bytes(text), 0600));
    return oci::Digest::of(as_bytes(text));
  }
  // Until a change of the file now would have another time than its last one.
  void wait_for_clock_after(std::string_view text) {
    struct stat last{};
    struct stat now{};
    ASSERT_EQ(::stat(path(text).c_str(), &last), 0);
    do {
      write("clock");
      ASSERT_EQ(::stat(path("clock").c_str(), &now), 0);
    } while (now.st_ctim.tv_sec == last.st_ctim.tv_sec &&
             now.st_ctim.tv_nsec == last.st_ctim.tv_nsec);
  }
  UniqueFd open(std::string_view text) { return open_file(path(text), O_RDONLY).value(); }

  test::TempDir directory_;
  OpenFiles files_{2};
};

TEST_F(OpenFilesTest, GivesAFileAgainWithoutOpeningIt) {
  const auto digest = write("a");
  EXPECT_FALSE(files_.find(digest));
  const auto opened = files_.add(digest, open("a"), kLater).value();
  const auto found = files_.find(digest);
  ASSERT_TRUE(found);
  EXPECT_EQ(found->file, opened.file);
  EXPECT_EQ(found->size, 1u);
}

TEST_F(OpenFilesTest, GivesNoFileThatWasRemovedReplacedOrRenamed) {
  for (const std::string_view what : {"removed", "replaced", "renamed"}) {
    const auto digest = write(what);
    ASSERT_TRUE(files_.add(digest, open(what), kLater));
    ASSERT_TRUE(files_.find(digest));
    wait_for_clock_after(what);
    if (what == "removed") std::filesystem::remove(path(what));
    if (what == "replaced") write(what);
    if (what == "renamed") std::filesystem::rename(path(what), path("elsewhere"));
    EXPECT_FALSE(files_.find(digest)) << what;
    EXPECT_EQ(files_.size(), 0u) << what;
  }
}

TEST_F(OpenFilesTest, DoesNotKeepAFileThatChangedJustNow) {
  const auto digest = write("a");
  EXPECT_TRUE(files_.add(digest, open("a"), std::chrono::system_clock::now()));
  EXPECT_FALSE(files_.find(digest));
}

TEST_F(OpenFilesTest, KeepsNoMoreThanItsLimitAndThoseThatAreUsed) {
  const auto used = write("used");
  ASSERT_TRUE(files_.add(used, open("used"), kLater));
  for (const std::string_view each : {"a", "b", "c", "d"}) {
    EXPECT_TRUE(files_.find(used)) << each;
    const auto digest = write(each);
    ASSERT_TRUE(files_.add(digest, open(each), kLater));
    EXPECT_TRUE(files_.find(digest));
    EXPECT_LE(files_.size(), 2u);
    files_.forget(digest);
    ASSERT_TRUE(files_.add(digest, open(each), kLater));
  }
}

TEST_F(OpenFilesTest, ClosesWhatNobodyUses) {
  const auto a = write("a");
  const auto b = write("b");
  ASSERT_TRUE(files_.add(a, open("a"), kLater));
  ASSERT_TRUE(files_.add(b, open("b"), kLater));
  ASSERT_TRUE(files_.find(a));
  files_.forget_unused();
  EXPECT_EQ(files_.size(), 1u);
  EXPECT_TRUE(files_.find(a));
}

TEST_F(OpenFilesTest, ClosesWhatIsNoBlobAnyMore) {
  const auto a = write("a");
  const std::weak_ptr<const UniqueFd> file = files_.add(a, open("a"), kLater).value().file;
  ASSERT_TRUE(files_.find(a));
  std::filesystem::remove(path("a"));
  EXPECT_FALSE(file.expired());
  files_.forget_unused();
  EXPECT_TRUE(file.expired());
}

TEST_F(OpenFilesTest, ForgetsAFileAtOnce) {
  const auto a = write("a");
  const std::weak_ptr<const UniqueFd> file = files_.add(a, open("a"), kLater).value().file;
  files_.forget(a);
  EXPECT_TRUE(file.expired());
}

}  // namespace

}  // namespace runnel::blob
