#include "engine/node_table.h"

#include <gtest/gtest.h>
#include <sys/socket.h>

#include <optional>

#include "support/fake_clock.h"

namespace runnel::engine {
namespace {

using std::chrono::seconds;

constexpr uint32_t kTree = 7;
constexpr uint64_t kRoot = tree_node(kTree, 0);
constexpr auto kReadTimeout = seconds(60);

class NodeTableTest : public testing::Test {
 protected:
  NodeTableTest() {
    int ends[2];
    EXPECT_EQ(::socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, ends), 0);
    kernel_ = UniqueFd(ends[0]);
    connection_ = FuseConnection::open(
                      {.fuse = UniqueFd(ends[1]), .slots = RequestSlots::create_file().value()},
                      kReadTimeout, clock_)
                      .value();
    nodes_.emplace(connection_);
  }

  bool wait_for_tree() {
    return nodes_->wait_for({.unique = 2, .taken = clock_.now()}, kRoot, [this] { ++retries_; });
  }

  test::FakeClock clock_;
  UniqueFd kernel_;
  std::shared_ptr<FuseConnection> connection_;
  std::optional<NodeTable> nodes_;
  int retries_ = 0;
};

TEST_F(NodeTableTest, KeepsARequestUntilWhatItWantsIsAdded) {
  EXPECT_TRUE(wait_for_tree());
  EXPECT_EQ(retries_, 0);

  nodes_->add(kTree, nullptr);

  EXPECT_EQ(retries_, 1);
  EXPECT_EQ(connection_->counters().waiting, 0u);
}

// A request that looks for its layer just before a new worker adds it must not fail: the layer is
// there.
TEST_F(NodeTableTest, TakesARequestUpAtOnceForWhatWasAddedAfterItLooked) {
  nodes_->add(kTree, nullptr);

  EXPECT_TRUE(wait_for_tree());

  EXPECT_EQ(retries_, 1);
  EXPECT_EQ(connection_->counters().waiting, 0u);
}

// Be the timeout short or long: a worker may take a while to know its layers again.
TEST_F(NodeTableTest, KeepsARequestForItsWholeTimeAndNoLonger) {
  clock_.advance(2 * kReadTimeout);
  EXPECT_TRUE(wait_for_tree());

  clock_.advance(kReadTimeout - seconds(1));
  connection_->expire(clock_.now());
  EXPECT_EQ(connection_->counters().waiting, 1u);

  clock_.advance(seconds(1));
  connection_->expire(clock_.now());
  EXPECT_EQ(connection_->counters().waiting, 0u);
  EXPECT_EQ(connection_->counters().expired, 1u);
}

TEST_F(NodeTableTest, TriesAgainAndKeepsNothingOnceAllIsAddedThatWillBe) {
  EXPECT_TRUE(wait_for_tree());

  nodes_->expect_no_more();

  EXPECT_EQ(retries_, 1);
  EXPECT_EQ(connection_->counters().waiting, 0u);
  EXPECT_FALSE(wait_for_tree());
  EXPECT_EQ(retries_, 1);
}

TEST_F(NodeTableTest, FindsWhatIsAddedLater) {
  nodes_->expect_no_more();

  nodes_->add(kTree, nullptr);

  EXPECT_TRUE(wait_for_tree());
  EXPECT_EQ(retries_, 1);
}

}  // namespace
}  // namespace runnel::engine
