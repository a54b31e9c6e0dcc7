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
constexpr auto kGrace = seconds(30);

class NodeTableTest : public testing::Test {
 protected:
  NodeTableTest() {
    int ends[2];
    EXPECT_EQ(::socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, ends), 0);
    kernel_ = UniqueFd(ends[0]);
    connection_ = FuseConnection::open(
                      {.fuse = UniqueFd(ends[1]), .slots = RequestSlots::create_file().value()},
                      seconds(60), clock_)
                      .value();
    nodes_.emplace(connection_, clock_, clock_.now() + kGrace);
  }

  bool wait_for_tree() {
    return nodes_->wait_for({.unique = 2}, kRoot, [this] { ++retries_; });
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

TEST_F(NodeTableTest, KeepsNothingWhenTheTimeOfEarlierWorkersNodesIsOver) {
  clock_.advance(kGrace);

  EXPECT_FALSE(wait_for_tree());
  EXPECT_EQ(retries_, 0);
}

}  // namespace
}  // namespace runnel::engine
