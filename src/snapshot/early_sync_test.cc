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

EarlySync::Options counted_by(FakeDisk& disk) {
  return {.pause = milliseconds(1), .give_up = std::chrono::hours(1), .syncfs = [&disk](int fd) {
            return disk(fd);
          }};
}

TEST(EarlySync, SyncsAgainAndAgainWhileALayerIsUnpacked) {
  const test::TempDir directory;
  FakeDisk disk;
  EarlySync early(directory.path(), counted_by(disk));

  early.begin("layer");

  EXPECT_TRUE(disk.wait_for(5));
}

TEST(EarlySync, LeavesTheDiskAloneWhenNothingIsUnpacked) {
  const test::TempDir directory;
  FakeDisk disk;
  {
    EarlySync early(directory.path(), counted_by(disk));
    early.begin("dropped");
    early.drop("dropped");
    early.begin("finished");
    ASSERT_TRUE(early.finish("finished"));
    const std::lock_guard lock(disk.mutex);
    disk.syncs = 0;
  }  // at most the sync that was under way ends here

  EXPECT_LE(disk.syncs, 1);
}

TEST(EarlySync, AnswersOnlyAfterASyncOfItsOwn) {
  const test::TempDir directory;
  FakeDisk disk;
  EarlySync early(directory.path(), counted_by(disk));

  ASSERT_TRUE(early.finish("never begun"));

  EXPECT_EQ(disk.syncs, 1);
}

TEST(EarlySync, SaysThatWritesWereLost) {
  const test::TempDir directory;
  FakeDisk disk;
  disk.failing = true;
  EarlySync early(directory.path(), counted_by(disk));
  early.begin("layer");

  const auto finished = early.finish("layer");

  ASSERT_FALSE(finished);
  EXPECT_TRUE(finished.error().message.contains(directory.path())) << finished.error().message;
}

// The kernel tells of a lost write once to each descriptor that was open then.
TEST(EarlySync, AsksForTheLayerWithTheDescriptorThatSawAllOfIt) {
  const test::TempDir directory;
  std::mutex mutex;
  std::vector<int> asked;
  EarlySync early(
      directory.path(),
      {.pause = std::chrono::hours(1), .give_up = std::chrono::hours(1), .syncfs = [&](int fd) {
         const std::lock_guard lock(mutex);
         asked.push_back(fd);
         return 0;
       }});
  early.begin("layer");
  const UniqueFd later(open_file(directory.path(), O_RDONLY | O_DIRECTORY).value());

  ASSERT_TRUE(early.finish("layer"));

  const std::lock_guard lock(mutex);
  ASSERT_EQ(asked.size(), 1);
  EXPECT_LT(asked[0], later.get()) << "opened before, when the layer was begun";
}

TEST(EarlySync, ForgetsALayerThatNobodyFinishes) {
  const test::TempDir directory;
  FakeDisk disk;
  auto options = counted_by(disk);
  options.give_up = milliseconds(0);
  {
    EarlySync early(directory.path(), options);
    early.begin("layer");
  }

  EXPECT_EQ(disk.syncs, 0);
}

}  // namespace
}  // namespace runnel::snapshot
