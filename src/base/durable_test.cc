#include "base/durable.h"

#include <gtest/gtest.h>

#include <filesystem>

#include "base/fd.h"
#include "support/temp_dir.h"

namespace runnel {
namespace {

TEST(ReplaceFile, ReplacesTheWholeContentAndLeavesNothingElse) {
  const test::TempDir dir;
  const auto path = dir.path() + "/file";

  ASSERT_TRUE(replace_file(path, as_bytes("a long first version")));
  ASSERT_TRUE(replace_file(path, as_bytes("second")));

  EXPECT_EQ(as_text(read_file(path, 100).value()), "second");
  EXPECT_EQ(std::distance(std::filesystem::directory_iterator(dir.path()), {}), 1);
}

TEST(ReplaceFile, FailsWithoutATraceWhereItCannotWrite) {
  const test::TempDir dir;

  const auto outcome = replace_file(dir.path() + "/absent/file", as_bytes("x"));

  ASSERT_FALSE(outcome);
  EXPECT_EQ(outcome.error().code, Code::kNotFound);
}

TEST(CreateFile, MakesOneThatWasNotThere) {
  const test::TempDir dir;
  const auto path = dir.path() + "/file";

  ASSERT_TRUE(create_file(path, as_bytes("first")));
  const auto again = create_file(path, as_bytes("second"));

  ASSERT_FALSE(again);
  EXPECT_EQ(again.error().code, Code::kExists);
  EXPECT_EQ(as_text(read_file(path, 100).value()), "first");
}

TEST(CreateFile, TakesWhatComesInPieces) {
  const test::TempDir dir;
  const auto path = dir.path() + "/file";

  const auto outcome = create_file_by(path, [](const auto& put) -> Result<void> {
    RUNNEL_DO(put(as_bytes("first ")));
    return put(as_bytes("second"));
  });

  ASSERT_TRUE(outcome) << outcome.error().message;
  EXPECT_EQ(as_text(read_file(path, 100).value()), "first second");
}

TEST(ReplaceFile, KeepsTheOldOneWhenThePiecesEndEarly) {
  const test::TempDir dir;
  const auto path = dir.path() + "/file";
  ASSERT_TRUE(replace_file(path, as_bytes("old")));

  const auto outcome = replace_file_by(path, [](const auto& put) -> Result<void> {
    RUNNEL_DO(put(as_bytes("new")));
    return fail(Code::kInvalid, "the rest is wrong");
  });

  ASSERT_FALSE(outcome);
  EXPECT_EQ(outcome.error().message, "the rest is wrong");
  EXPECT_EQ(as_text(read_file(path, 100).value()), "old");
  EXPECT_EQ(std::distance(std::filesystem::directory_iterator(dir.path()), {}), 1);
}

TEST(ReplaceFile, ReplacesAsAWholeWithoutTheDiskToo) {
  const test::TempDir dir;
  const auto path = dir.path() + "/file";
  ASSERT_TRUE(replace_file(path, as_bytes("old"), 0600));

  ASSERT_TRUE(replace_file(path, as_bytes("new"), 0640, Survives::kProcessDeath));

  EXPECT_EQ(as_text(read_file(path, 100).value()), "new");
  EXPECT_EQ(std::filesystem::status(path).permissions(), std::filesystem::perms::owner_read |
                                                             std::filesystem::perms::owner_write |
                                                             std::filesystem::perms::group_read);
  EXPECT_EQ(std::distance(std::filesystem::directory_iterator(dir.path()), {}), 1);
  EXPECT_TRUE(sync_file(path));
}

TEST(SyncFile, NamesTheFileThatIsNotThere) {
  const auto synced = sync_file("/nonexistent/file");

  ASSERT_FALSE(synced);
  EXPECT_NE(synced.error().message.find("/nonexistent/file"), std::string::npos);
}

TEST(MakeDirectories, CreatesParentsAndAcceptsWhatIsThere) {
  const test::TempDir dir;

  ASSERT_TRUE(make_directories(dir.path() + "/a/b/c"));
  ASSERT_TRUE(make_directories(dir.path() + "/a/b/c"));

  EXPECT_TRUE(std::filesystem::is_directory(dir.path() + "/a/b/c"));
}

TEST(MakeDirectories, RefusesAFileInTheWay) {
  const test::TempDir dir;
  ASSERT_TRUE(replace_file(dir.path() + "/a", as_bytes("x")));

  EXPECT_FALSE(make_directories(dir.path() + "/a"));
  EXPECT_FALSE(make_directories(dir.path() + "/a/b"));
}

}  // namespace
}  // namespace runnel
