#include "engine/fuse_connection.h"

#include <gtest/gtest.h>

#include "support/fake_clock.h"
#include "support/fuse_kernel.h"

namespace runnel::engine {
namespace {

using cache::SourceSigns;
using std::chrono::milliseconds;
using std::chrono::seconds;

constexpr auto kTimeout = seconds(60);
constexpr auto kWhileSilent = seconds(2);
constexpr uint64_t kDevice = 70;  // a layer's file
constexpr uint64_t kOtherDevice = 71;

class FuseConnectionTest : public testing::Test {
 protected:
  FuseConnectionTest() {
    clock_.advance(std::chrono::hours(1));
    signs_ = {.asked = clock_.now(), .bytes = clock_.now(), .chunk = clock_.now()};
    clock_.advance(seconds(1));
  }

  Ticket take(uint64_t node, uint64_t offset, uint32_t pid) {
    return kernel_.read(node, offset, pid).ticket;
  }

  // As the engine does with a read of a layer. How long the reader may wait; empty: refused.
  std::optional<Patience> read(uint64_t node, uint64_t offset, uint32_t pid) {
    last_ = take(node, offset, pid);
    const ReadRange range{.node = node, .offset = offset, .length = 4096};
    const auto until = connection_->deadline(last_, range, pid);
    if (!until) return std::nullopt;
    connection_->keep(last_, {.deadline = *until, .retry = {}, .range = range, .pid = pid});
    return connection_->waits_for(
        last_, {{.layer = node, .name = "layer", .signs = [this] { return signs_; }}});
  }

  void advance(Duration duration) {
    clock_.advance(duration);
    connection_->expire(clock_.now());
  }
  void a_chunk_comes() { signs_.chunk = signs_.bytes = clock_.now(); }

  // What was answered since the last call; all of it EIO.
  std::vector<uint64_t> failed() {
    std::vector<uint64_t> uniques;
    while (const auto header = kernel_.answer()) {
      EXPECT_EQ(header->error, -EIO);
      uniques.push_back(header->unique);
    }
    return uniques;
  }

  Duration from_now(SteadyTime time) const { return time - clock_.now(); }

  test::FakeClock clock_;
  test::FuseKernel kernel_{kTimeout, clock_};
  const std::shared_ptr<FuseConnection> connection_ = kernel_.connection;
  SourceSigns signs_;
  Ticket last_;
};

TEST_F(FuseConnectionTest, GivesEachReadItsWholeTime) {
  const auto first = read(kDevice, 0, 1);
  advance(seconds(20));
  const auto second = read(kDevice, 65536, 2);
  EXPECT_EQ(from_now(first->reader), seconds(40));
  EXPECT_EQ(from_now(second->reader), seconds(60));
  EXPECT_EQ(from_now(second->fetch), seconds(60));
}

TEST_F(FuseConnectionTest, GivesWhatAWorkerHandsOnLateASecondMoreButNotForEver) {
  const auto ticket = take(kDevice, 0, 1);
  const ReadRange range{.node = kDevice, .offset = 0, .length = 4096};
  const auto until_after = [&](Duration waited) {
    const auto since = clock_.now() - ticket.taken;
    clock_.advance(waited - since);
    return *connection_->deadline(ticket, range, 1) - ticket.taken;
  };
  EXPECT_EQ(until_after(seconds(30)), kTimeout);
  EXPECT_EQ(until_after(seconds(59)), kTimeout);
  EXPECT_EQ(until_after(seconds(62)), seconds(63));
  EXPECT_EQ(until_after(seconds(74)), seconds(75));
  EXPECT_EQ(until_after(seconds(100)), seconds(75)) << "over";
}

TEST_F(FuseConnectionTest, EndsAllReadsOfASilentLayerSoonAfterTheFirst) {
  read(kDevice, 0, 1);
  const auto first = last_.unique;
  advance(seconds(50));
  signs_.asked = clock_.now();
  read(kDevice, 65536, 2);
  const auto second = last_.unique;

  advance(seconds(10));
  EXPECT_EQ(failed(), std::vector{first});
  advance(milliseconds(1900));
  EXPECT_TRUE(failed().empty());
  advance(milliseconds(100));
  EXPECT_EQ(failed(), std::vector{second});
}

TEST_F(FuseConnectionTest, EndsAChainOfReadersWithinOneTimeoutAndALittle) {
  // Each waits for pages that the one before it has locked, and asks for others when that ended.
  read(kDevice, 0, 1);
  const auto begin = clock_.now();
  for (uint32_t reader = 2; reader <= 8; ++reader) {
    while (failed().empty()) advance(milliseconds(100));
    signs_.asked = clock_.now();
    ASSERT_TRUE(read(kDevice, reader * 65536, reader));
  }
  while (failed().empty()) advance(milliseconds(100));
  EXPECT_LE(clock_.now() - begin, kTimeout + 7 * (kWhileSilent + milliseconds(100)));
}

TEST_F(FuseConnectionTest, LeavesTheReadsOfASlowButLivingLayerAlone) {
  read(kDevice, 0, 1);
  advance(seconds(50));
  a_chunk_comes();
  read(kDevice, 65536, 2);
  advance(seconds(10));
  EXPECT_EQ(failed().size(), 1u);
  advance(seconds(49));
  EXPECT_TRUE(failed().empty());
  connection_->answer(last_, Buffer(1), clock_.now());
  EXPECT_EQ(connection_->counters().errors, 1u);
}

TEST_F(FuseConnectionTest, LeavesOtherLayersAlone) {
  read(kDevice, 0, 1);
  read(kOtherDevice, 0, 1);
  connection_->answer(last_, Buffer(1), clock_.now());
  advance(seconds(60));
  EXPECT_EQ(from_now(read(kOtherDevice, 65536, 2)->reader), kTimeout);
  EXPECT_EQ(from_now(read(kDevice, 65536, 2)->reader), kWhileSilent);
}

TEST_F(FuseConnectionTest, GivesReadsTheirTimeAgainWhenTheFirstChunkCame) {
  read(kDevice, 0, 1);
  advance(seconds(60));
  ASSERT_EQ(from_now(read(kDevice, 65536, 2)->reader), kWhileSilent);
  a_chunk_comes();
  EXPECT_EQ(from_now(read(kDevice, 131072, 3)->reader), kTimeout);
}

TEST_F(FuseConnectionTest, LetsOneFetchOfASilentLayerTakeItsTimeToFindASlowRegistry) {
  read(kDevice, 0, 1);
  advance(seconds(60));
  const auto probe = read(kDevice, 65536, 2);
  const auto other = read(kDevice, 131072, 3);
  EXPECT_EQ(from_now(probe->reader), kWhileSilent);
  EXPECT_EQ(from_now(probe->fetch), kTimeout);
  EXPECT_EQ(from_now(other->fetch), kWhileSilent);
}

TEST_F(FuseConnectionTest, TakesAReadForLateThatFailedBeforeItsDeadline) {
  read(kDevice, 0, 1);
  advance(seconds(58));
  const Error error(Code::kUnavailable, "there is no time for another attempt");
  connection_->answer(last_, std::unexpected(error), clock_.now());
  EXPECT_FALSE(read(kDevice, 0, 2)) << "its repetition would wait for as long";
  EXPECT_EQ(from_now(read(kDevice, 65536, 3)->reader), kWhileSilent);
}

TEST_F(FuseConnectionTest, LetsWhatWasRefusedAtOnceBeTriedAgainAtOnce) {
  read(kDevice, 0, 1);
  connection_->answer(last_, fail(Code::kDenied, "not for you"), clock_.now());
  EXPECT_EQ(from_now(read(kDevice, 0, 2)->reader), kTimeout);
}

TEST_F(FuseConnectionTest, DoesNotTakeAReadForLateThatWasRefusedBeforeItsDeadline) {
  for (const auto code : {Code::kDenied, Code::kExhausted, Code::kInvalid, Code::kUnavailable}) {
    read(kDevice, 0, 1);
    advance(seconds(5));
    connection_->answer(last_, fail(code, "no"), clock_.now());

    EXPECT_EQ(from_now(read(kDevice, 65536, 1)->reader), kTimeout) << "the same reader";
    connection_->answer(last_, Buffer(1), clock_.now());
    EXPECT_FALSE(read(kDevice, 0, 2)) << "its repetition would take as long";
    EXPECT_EQ(from_now(read(kDevice, 65536, 2)->reader), kTimeout) << "who repeated it";
    connection_->answer(last_, Buffer(1), clock_.now());

    advance(milliseconds(500));
    EXPECT_EQ(from_now(read(kDevice, 0, 2)->reader), kTimeout) << "it may be cured";
    connection_->answer(last_, Buffer(1), clock_.now());
  }
}

TEST_F(FuseConnectionTest, GivesAReaderLittleForItsNextRangeAndTheFetchItsTime) {
  read(kDevice, 0, 1);
  advance(seconds(1));
  a_chunk_comes();
  advance(seconds(59));
  const auto next = read(kDevice, 65536, 1);
  EXPECT_EQ(from_now(next->reader), milliseconds(500));
  EXPECT_EQ(from_now(next->fetch), kTimeout);
}

TEST_F(FuseConnectionTest, GivesAReaderLittleThatWaitedForAnothersRequest) {
  read(kDevice, 0, 1);
  advance(seconds(1));
  a_chunk_comes();
  advance(seconds(59));
  EXPECT_FALSE(read(kDevice, 0, 2));
  EXPECT_EQ(from_now(read(kDevice, 65536, 2)->reader), milliseconds(500));
  EXPECT_EQ(from_now(read(kDevice, 131072, 3)->reader), kTimeout);
}

TEST_F(FuseConnectionTest, TakesNoProcessForAReaderWhereLoopDevicesSend) {
  connection_->set_senders(Senders::kLoops);
  read(kDevice, 0, 1);
  advance(seconds(1));
  a_chunk_comes();
  advance(seconds(59));

  EXPECT_FALSE(read(kDevice, 0, 1)) << "the same range, whoever wants it";
  EXPECT_EQ(from_now(read(kDevice, 65536, 1)->reader), kTimeout) << "may be another's";
}

TEST_F(FuseConnectionTest, EndsAQueueOfStalledReadsAndTheirRepetitionsWithinTwoTimeouts) {
  // A loop device with forty stalled requests; what failed is asked for once more behind the
  // others.
  connection_->set_senders(Senders::kWaitingLoops);
  const auto begin = clock_.now();
  for (int round = 0; round < 2; ++round) {
    for (uint32_t request = 0; request < 40; ++request) {
      signs_.asked = clock_.now();
      a_chunk_comes();
      if (!read(kDevice, request * 131072, request % 3)) continue;  // the kernel's workers change
      while (failed().empty()) advance(milliseconds(100));
    }
  }
  EXPECT_LE(clock_.now() - begin, 2 * kTimeout);

  advance(seconds(3));
  EXPECT_TRUE(read(kDevice, 0, 7)) << "nothing has ended late for a while: it is tried again";
}

}  // namespace
}  // namespace runnel::engine
