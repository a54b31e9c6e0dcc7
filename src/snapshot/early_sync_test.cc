#include "snapshot/early_sync.h"

#include <fcntl.h>
#include <gtest/gtest.h>

#include <cerrno>
#include <vector>

#include "support/temp_dir.h"

namespace runnel::snapshot {
namespace {

using std::chrono::milliseconds;

// Counts syncs instead of making them, and fails those that it is told to.
struct FakeDisk {
  int operator()(int) {
    const std::lock_guard lock(mutex);
    ++syncs;
    changed.notify_all();
    if (!failing) return 0;
    errno = EIO;
    return -1;
  }
  // Returns once there were that many; the test's own deadline is for a program that hangs.
  bool wait_for(int count) {
    std::unique_lock lock(mutex);
    return changed.wait_for(lock, std::chrono::minutes(1), [&] { return syncs >= count; });
  }

  std::mutex mutex;
  std::condition_variable changed;
  int syncs = 0;
  bool failing = false;
};

constexpr auto kUnpack = EarlySync::Use::kUnpack;
constexpr auto kWrite = EarlySync::Use::kWrite;

EarlySync::Options counted_by(FakeDisk& disk) {
  return {.pause = milliseconds(1), .give_up = std::chrono::hours(1), .syncfs = [&disk](int fd) {
            return disk(fd);
          }};
}

EarlySync::Options only_asked_by_commits(std::function<int(int)> syncfs) {
  return {.pause = std::chrono::hours(1),
          .give_up = std::chrono::hours(1),
          .syncfs = std::move(syncfs)};
}

TEST(EarlySync, SyncsAgainAndAgainWhileALayerIsUnpacked) {
  const test::TempDir directory;
  FakeDisk disk;
  const auto early = EarlySync::open(directory.path(), counted_by(disk)).value();

  early->begin(1, kUnpack);

  EXPECT_TRUE(disk.wait_for(5));
}

TEST(EarlySync, LeavesTheDiskAloneWhenNothingIsUnpacked) {
  const test::TempDir directory;
  FakeDisk disk;
  {
    const auto early = EarlySync::open(directory.path(), counted_by(disk)).value();
    early->begin(1, kUnpack);
    early->drop(1);
    early->begin(2, kUnpack);
    ASSERT_TRUE(early->finish(2));
    early->drop(2);
    const std::lock_guard lock(disk.mutex);
    disk.syncs = 0;
  }  // at most the sync that was under way ends here

  EXPECT_LE(disk.syncs, 1);
}

TEST(EarlySync, LeavesTheDiskAloneForAContainer) {
  const test::TempDir directory;
  FakeDisk disk;
  {
    const auto early = EarlySync::open(directory.path(), counted_by(disk)).value();
    early->begin(1, kWrite);
  }

  EXPECT_EQ(disk.syncs, 0);
}

TEST(EarlySync, AnswersOnlyAfterASyncOfItsOwn) {
  const test::TempDir directory;
  FakeDisk disk;
  const auto early = EarlySync::open(directory.path(), counted_by(disk)).value();
  early->begin(1, kWrite);

  ASSERT_TRUE(early->finish(1));

  EXPECT_EQ(disk.syncs, 1);
}

TEST(EarlySync, SaysThatWritesWereLost) {
  const test::TempDir directory;
  FakeDisk disk;
  disk.failing = true;
  const auto early = EarlySync::open(directory.path(), counted_by(disk)).value();
  early->begin(1, kUnpack);

  const auto finished = early->finish(1);

  ASSERT_FALSE(finished);
  EXPECT_TRUE(finished.error().message.contains(directory.path())) << finished.error().message;
}

// The kernel tells of a lost write once, to whichever commit comes first.
TEST(EarlySync, HoldsALossAgainstEverySnapshotThatWasActiveThen) {
  const test::TempDir directory;
  FakeDisk disk;
  const auto early =
      EarlySync::open(directory.path(), only_asked_by_commits([&](int fd) { return disk(fd); }))
          .value();
  for (const int64_t number : {1, 2, 3}) early->begin(number, kUnpack);
  ASSERT_TRUE(early->finish(1));
  early->drop(1);
  disk.failing = true;
  ASSERT_FALSE(early->finish(2));
  disk.failing = false;
  early->begin(4, kUnpack);

  EXPECT_FALSE(early->finish(3));
  EXPECT_FALSE(early->finish(2)) << "a second commit of the same snapshot";
  EXPECT_TRUE(early->finish(4)) << "begun after it";
}

TEST(EarlySync, AsksADescriptorThatIsOlderThanAllSnapshots) {
  const test::TempDir directory;
  std::vector<int> asked;
  const auto early = EarlySync::open(directory.path(), only_asked_by_commits([&](int fd) {
                                       asked.push_back(fd);
                                       return 0;
                                     }))
                         .value();
  const UniqueFd later(open_file(directory.path(), O_RDONLY | O_DIRECTORY).value());
  for (const int64_t number : {1, 2}) early->begin(number, kWrite);

  ASSERT_TRUE(early->finish(1));
  ASSERT_TRUE(early->finish(2));

  ASSERT_EQ(asked.size(), 2);
  EXPECT_LT(asked[0], later.get());
  EXPECT_EQ(asked[0], asked[1]) << "one descriptor, however many snapshots";
}

TEST(EarlySync, DoesNotVouchForWhatItDidNotSeeBegin) {
  const test::TempDir directory;
  FakeDisk disk;
  const auto early = EarlySync::open(directory.path(), counted_by(disk)).value();

  const auto finished = early->finish(7);

  ASSERT_FALSE(finished);
  EXPECT_EQ(finished.error().code, Code::kConflict);
}

TEST(EarlySync, NeedsItsDirectory) {
  const test::TempDir directory;

  EXPECT_FALSE(EarlySync::open(directory.path() + "/absent"));
}

TEST(EarlySync, StopsEarlySyncsForALayerThatNobodyFinishes) {
  const test::TempDir directory;
  FakeDisk disk;
  auto options = counted_by(disk);
  options.give_up = milliseconds(0);
  {
    const auto early = EarlySync::open(directory.path(), options).value();
    early->begin(1, kUnpack);
  }

  EXPECT_EQ(disk.syncs, 0);
}

}  // namespace
}  // namespace runnel::snapshot
