#include "node/tree_keeper.h"

#include <gtest/gtest.h>

#include <chrono>
#include <condition_variable>
#include <vector>

namespace runnel::node {
namespace {

using std::chrono::milliseconds;

class Kept {
 public:
  Result<void> keep(const StreamedImage& image) {
    const std::lock_guard lock(mutex_);
    names_.push_back(image.repository);
    changed_.notify_all();
    if (failures_ == 0) return {};
    --failures_;
    return fail(Code::kUnavailable, "not now");
  }
  std::vector<std::string> wait_for(size_t count) {
    std::unique_lock lock(mutex_);
    changed_.wait(lock, [&] { return names_.size() >= count; });
    return names_;
  }
  void fail_times(int times) {
    const std::lock_guard lock(mutex_);
    failures_ = times;
  }

 private:
  std::mutex mutex_;
  std::condition_variable changed_;
  std::vector<std::string> names_;
  int failures_ = 0;
};

std::shared_ptr<const StreamedImage> image(std::string repository) {
  StreamedImage made;
  made.repository = std::move(repository);
  return std::make_shared<const StreamedImage>(std::move(made));
}

TEST(TreeKeeper, KeepsEachImageOnce) {
  Kept kept;
  TreeKeeper keeper([&](const auto& each) { return kept.keep(each); }, milliseconds(1));

  const auto a = image("a");
  const auto b = image("b");
  keeper.add(a);
  keeper.add(b);

  EXPECT_EQ(kept.wait_for(2), (std::vector<std::string>{"a", "b"}));
}

TEST(TreeKeeper, TriesAgainWhatFailed) {
  Kept kept;
  kept.fail_times(2);
  TreeKeeper keeper([&](const auto& each) { return kept.keep(each); }, milliseconds(1),
                    milliseconds(1));

  const auto a = image("a");
  keeper.add(a);

  EXPECT_EQ(kept.wait_for(3), (std::vector<std::string>{"a", "a", "a"}));
}

TEST(TreeKeeper, ForgetsAnImageThatNobodyHas) {
  Kept kept;
  TreeKeeper keeper([&](const auto& each) { return kept.keep(each); }, milliseconds(1));

  keeper.add(image("gone"));
  const auto there = image("there");
  keeper.add(there);

  EXPECT_EQ(kept.wait_for(1), std::vector<std::string>{"there"});
}

TEST(TreeKeeper, DoesNotHoldUpItsEnd) {
  Kept kept;
  const auto begun = std::chrono::steady_clock::now();
  {
    TreeKeeper keeper([&](const auto& each) { return kept.keep(each); }, std::chrono::hours(1));
    const auto a = image("a");
    keeper.add(a);
  }
  EXPECT_LT(std::chrono::steady_clock::now() - begun, std::chrono::minutes(1));
}

}  // namespace
}  // namespace runnel::node
