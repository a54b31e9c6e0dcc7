#include "node/snapshot_exchange.h"

#include <gtest/gtest.h>

#include <set>

namespace runnel::node {
namespace {

using Calls = std::vector<std::string>;

// containerd, and the node as its snapshotter: what was asked, in order.
class FakeSnapshots final : public ImageSnapshots {
 public:
  Result<void> remove(const std::string& id) override {
    if (in_use.contains(id)) return fail(Code::kConflict, "{} is in use", id);
    calls.push_back("remove " + id);
    const bool there = unpacked.erase(id) > 0;
    if (collects) unpacked.clear();
    return there ? Result<void>() : fail(Code::kNotFound, "{} is not there", id);
  }
  Result<void> collect_garbage() override {
    calls.emplace_back("collect");
    return {};
  }
  Result<bool> find(const std::string& id, const std::string& parent) override {
    calls.push_back("find " + id + " on " + parent);
    return offers;
  }
  Result<void> hold(const std::string& id) override {
    calls.push_back("hold " + id);
    return {};
  }

  std::set<std::string> unpacked = {"1", "12", "123"};
  std::set<std::string> in_use;
  bool collects = false;  // of its own accord, after a removal
  bool offers = true;
  Calls calls;
};

class SnapshotExchange : public testing::Test {
 protected:
  Result<void> exchange() {
    return exchange_snapshots(
        {"1", "12", "123"},
        [this](const std::string& id) -> Result<bool> { return containerd_.unpacked.contains(id); },
        containerd_, [this](size_t removed) { tell(removed); }, stop_.get_token());
  }
  void tell(size_t removed) {
    told_.push_back(removed);
    if (removed == stops_after_) stop_.request_stop();
  }

  FakeSnapshots containerd_;
  std::stop_source stop_;
  size_t stops_after_ = 0;
  std::vector<size_t> told_;
};

const Calls kWhole = {"remove 123", "remove 12",    "remove 1",       "collect",
                      "find 1 on ", "find 12 on 1", "find 123 on 12", "hold 123"};

TEST_F(SnapshotExchange, RemovesFromTheTopAndAsksAgainFromTheBottom) {
  ASSERT_TRUE(exchange());

  EXPECT_EQ(containerd_.calls, kWhole);
  EXPECT_EQ(told_, (std::vector<size_t>{1, 2, 3}));
}

TEST_F(SnapshotExchange, ChangesNothingWhenTheNodeStopsBeforeTheFirstRemoval) {
  stop_.request_stop();

  EXPECT_EQ(exchange().error().code, Code::kCancelled);

  EXPECT_TRUE(containerd_.calls.empty());
}

TEST_F(SnapshotExchange, GoesOnToItsEndWhenTheNodeStopsAfterTheFirstRemoval) {
  for (const size_t removed : {1, 2, 3}) {
    containerd_ = {};
    stop_ = std::stop_source();
    stops_after_ = removed;

    EXPECT_TRUE(exchange()) << removed;

    EXPECT_EQ(containerd_.calls, kWhole) << removed;
  }
}

TEST_F(SnapshotExchange, LeavesWhatAnotherImageStandsOn) {
  containerd_.in_use = {"12"};

  ASSERT_TRUE(exchange());

  EXPECT_EQ(containerd_.calls, (Calls{"remove 123", "collect", "find 1 on ", "find 12 on 1",
                                      "find 123 on 12", "hold 123"}));
}

TEST_F(SnapshotExchange, CountsWhatContainerdRemovesByItselfMeanwhile) {
  containerd_.collects = true;

  ASSERT_TRUE(exchange());

  EXPECT_EQ(containerd_.calls, kWhole);
  EXPECT_EQ(told_, (std::vector<size_t>{1, 2, 3}));
}

TEST_F(SnapshotExchange, RemovesNothingOfAnImageThatIsInUse) {
  containerd_.in_use = {"123"};

  EXPECT_EQ(exchange().error().code, Code::kConflict);

  EXPECT_TRUE(containerd_.calls.empty());
}

TEST_F(SnapshotExchange, SaysWhatBecomesOfAnImageThatIsNotOfferedAgain) {
  containerd_.offers = false;

  const auto failed = exchange();

  EXPECT_EQ(failed.error().code, Code::kUnavailable);
  EXPECT_NE(failed.error().message.find("its snapshots are removed"), std::string::npos);
}

}  // namespace
}  // namespace runnel::node
