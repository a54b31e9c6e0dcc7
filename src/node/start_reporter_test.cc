#include "node/start_reporter.h"

#include <gtest/gtest.h>

#include <condition_variable>
#include <fstream>
#include <mutex>

#include "support/temp_dir.h"

namespace runnel::node {
namespace {

TEST(NodeId, IsMadeOnceAndKept) {
  const test::TempDir root;

  const auto id = node_id(root.path()).value();

  EXPECT_EQ(id.size(), 32u);
  EXPECT_EQ(node_id(root.path()).value(), id);
  EXPECT_NE(node_id(test::TempDir().path()).value(), id);
}

TEST(NodeId, ReplacesWhatIsNone) {
  const test::TempDir root;
  std::ofstream(root.path() + "/node-id") << "not an id\n";

  EXPECT_EQ(node_id(root.path()).value().size(), 32u);
}

TEST(StartReporter, TellsOfAStartThatIsOverOnce) {
  const SystemClock clock;
  const auto image = oci::Digest::of(as_bytes("image"));
  const auto ago = clock.now() - std::chrono::minutes(1);
  std::mutex mutex;
  std::condition_variable changed;
  std::vector<oci::Digest> told;
  int looks = 0;
  const auto starts = [&]() -> std::vector<StartWatch::Start> {
    const std::lock_guard lock(mutex);
    ++looks;
    changed.notify_all();
    return {{.image = image, .mounted = ago, .first_touch = ago, .last_touch = ago}};
  };
  const auto report = [&](const oci::Digest& which) -> Result<void> {
    const std::lock_guard lock(mutex);
    told.push_back(which);
    return {};
  };

  const StartReporter reporter(starts, report, clock);
  std::unique_lock lock(mutex);
  ASSERT_TRUE(changed.wait_for(lock, std::chrono::seconds(60), [&] { return looks == 3; }));

  EXPECT_EQ(told, std::vector{image});
}

}  // namespace
}  // namespace runnel::node
