#include "fetch/queue.h"

#include <gtest/gtest.h>
#include <rapidcheck/gtest.h>

namespace runnel::fetch {
namespace {

using namespace std::chrono_literals;

constexpr uint64_t kMax = 1000;
const SteadyTime kNow{1h};

class FetchQueue : public ::testing::Test {
 protected:
  std::shared_ptr<Lane> lane(const std::string& repository,
                             std::shared_ptr<Host> host = std::make_shared<Host>()) {
    auto out = std::make_shared<Lane>();
    out->host = std::move(host);
    out->repository = repository;
    queue_.add_lane(out);
    return out;
  }
  // A piece and its blob point at each other until it is removed.
  void TearDown() override {
    for (const auto& blob : blobs_)
      while (!blob->pieces.empty()) {
        const auto piece = blob->pieces.begin()->second;
        queue_.remove(piece);
      }
  }
  std::shared_ptr<Blob> blob(std::shared_ptr<Lane> lane) {
    auto out = std::make_shared<Blob>();
    blobs_.push_back(out);
    out->lane = std::move(lane);
    out->size = 1 << 20;
    return out;
  }
  std::shared_ptr<Piece> add(const std::shared_ptr<Blob>& to, uint64_t offset, uint64_t length,
                             Priority priority = Priority::kDemand) {
    bool joined = false;
    auto piece =
        queue_.add(to, offset, length, priority, {kNow + 1min, [](Result<Buffer>) {}}, joined);
    EXPECT_EQ(joined, piece->waiters.size() > 1);
    return piece;
  }
  // "0+10 10+5": the ranges that are sent next as one request.
  std::string take(Priority priority = Priority::kDemand, SteadyTime now = kNow) {
    std::string out;
    for (const auto& piece : queue_.take(priority, now, kMax)) {
      EXPECT_EQ(piece->state, Piece::State::kInFlight);
      out += fmt::format("{}{}+{}", out.empty() ? "" : " ", piece->next(),
                         piece->end() - piece->next());
    }
    return out;
  }

  Queue queue_;
  std::vector<std::shared_ptr<Blob>> blobs_;
  std::shared_ptr<Lane> lane_ = lane("a");
  std::shared_ptr<Blob> blob_ = blob(lane_);
};

TEST_F(FetchQueue, GivesWhatCameFirstFirst) {
  const auto other = blob(lane("b"));
  add(blob_, 500, 10);
  add(other, 100, 10);
  add(blob_, 0, 10);

  EXPECT_EQ(take(), "500+10");
  EXPECT_EQ(take(), "100+10");
  EXPECT_EQ(take(), "0+10");
  EXPECT_EQ(take(), "");
}

TEST_F(FetchQueue, KeepsPrioritiesApart) {
  add(blob_, 0, 10, Priority::kPrefetch);

  EXPECT_EQ(take(Priority::kDemand), "");
  EXPECT_EQ(take(Priority::kBackground), "");
  EXPECT_EQ(queue_.count(Priority::kPrefetch), 1u);
  EXPECT_EQ(take(Priority::kPrefetch), "0+10");
}

TEST_F(FetchQueue, JoinsNeighboursOnBothSides) {
  add(blob_, 20, 10);
  add(blob_, 30, 10);
  add(blob_, 10, 10);
  add(blob_, 0, 9);  // a gap at 9

  EXPECT_EQ(take(), "10+10 20+10 30+10");
  EXPECT_EQ(take(), "0+9");
}

TEST_F(FetchQueue, JoinsOnlyUpToTheLimit) {
  add(blob_, 600, 600);
  add(blob_, 1200, 400);
  add(blob_, 0, 600);
  add(blob_, 1600, 10);

  EXPECT_EQ(take(), "600+600 1200+400");
  EXPECT_EQ(take(), "0+600");
  EXPECT_EQ(take(), "1600+10");
}

TEST_F(FetchQueue, DoesNotJoinOtherPrioritiesOrBlobs) {
  const auto other = blob(lane_);
  add(blob_, 0, 10);
  add(blob_, 10, 10, Priority::kBackground);
  add(other, 10, 10);

  EXPECT_EQ(take(), "0+10");
  EXPECT_EQ(take(), "10+10");
  EXPECT_EQ(take(Priority::kBackground), "10+10");
}

TEST_F(FetchQueue, AReadOfTheSameRangeJoinsAndRaises) {
  const auto piece = add(blob_, 0, 10, Priority::kBackground);
  EXPECT_EQ(add(blob_, 0, 10, Priority::kPrefetch), piece);
  EXPECT_EQ(add(blob_, 0, 10, Priority::kBackground), piece);

  EXPECT_EQ(take(Priority::kBackground), "");
  EXPECT_EQ(take(Priority::kPrefetch), "0+10");
  EXPECT_EQ(piece->waiters.size(), 3u);
}

TEST_F(FetchQueue, AReadOfTheSameRangeJoinsOneInFlight) {
  const auto piece = add(blob_, 0, 10);
  EXPECT_EQ(take(), "0+10");

  EXPECT_EQ(add(blob_, 0, 10), piece);
  EXPECT_EQ(take(), "");
}

TEST_F(FetchQueue, AnotherLengthIsAnotherRead) {
  EXPECT_NE(add(blob_, 0, 10), add(blob_, 0, 11));
}

TEST_F(FetchQueue, PassesByALaneThatWaitsForAToken) {
  add(blob_, 0, 10);
  add(blob(lane("b")), 5, 5);
  lane_->awaits_token = true;

  EXPECT_EQ(take(), "5+5");
  EXPECT_EQ(take(), "");
  lane_->awaits_token = false;
  EXPECT_EQ(take(), "0+10");
}

TEST_F(FetchQueue, WaitsForAHostThatIsPaused) {
  add(blob_, 0, 10);
  lane_->host->paused_until = kNow + 5s;

  EXPECT_EQ(take(), "");
  EXPECT_EQ(queue_.next_change(kNow), kNow + 5s);
  EXPECT_EQ(take(Priority::kDemand, kNow + 5s), "0+10");
  EXPECT_EQ(queue_.next_change(kNow), SteadyTime::max());
}

TEST_F(FetchQueue, ADelayedReadComesBackToItsPlace) {
  const auto first = add(blob_, 0, 10);
  add(blob_, 100, 10);
  EXPECT_EQ(take(), "0+10");
  queue_.put_back(first, kNow + 5s);

  EXPECT_EQ(queue_.next_change(kNow), kNow + 5s);
  queue_.wake(kNow + 4s);
  EXPECT_EQ(first->state, Piece::State::kDelayed);
  queue_.wake(kNow + 5s);
  EXPECT_EQ(take(), "0+10");
  EXPECT_EQ(take(), "100+10");
}

TEST_F(FetchQueue, ADelayedReadIsRaisedInItsDelay) {
  const auto piece = add(blob_, 0, 10, Priority::kBackground);
  EXPECT_EQ(take(Priority::kBackground), "0+10");
  queue_.put_back(piece, kNow + 5s);
  add(blob_, 0, 10, Priority::kDemand);

  EXPECT_EQ(take(), "");
  queue_.wake(kNow + 5s);
  EXPECT_EQ(take(), "0+10");
}

TEST_F(FetchQueue, WhatHasComeIsNotAskedForAgain) {
  const auto piece = add(blob_, 0, 10);
  add(blob_, 10, 10);
  EXPECT_EQ(take(), "0+10 10+10");
  piece->data.resize(4);
  queue_.put_back(piece);

  EXPECT_EQ(take(), "4+6");
}

TEST_F(FetchQueue, AReadWithAFrontIsNotJoinedBehindAnother) {
  const auto piece = add(blob_, 10, 10);
  EXPECT_EQ(take(), "10+10");
  piece->data.resize(4);
  queue_.put_back(piece);
  add(blob_, 0, 10);
  add(blob_, 20, 10);

  EXPECT_EQ(take(), "14+6 20+10");
  EXPECT_EQ(take(), "0+10");
}

TEST_F(FetchQueue, ForgetsWhatIsRemoved) {
  const auto ready = add(blob_, 0, 10);
  const auto delayed = add(blob_, 20, 10);
  queue_.put_back(delayed, kNow + 5s);
  EXPECT_EQ(queue_.waiting(*lane_).size(), 2u);

  queue_.remove(ready);
  queue_.remove(delayed);

  EXPECT_TRUE(queue_.all().empty());
  EXPECT_TRUE(blob_->pieces.empty());
  EXPECT_EQ(queue_.next_change(kNow), SteadyTime::max());
  EXPECT_NE(add(blob_, 0, 10), ready);
}

// Whatever is asked for in whatever order: every request is one run without gaps, and every read is
// in exactly one.
RC_GTEST_PROP(FetchQueueProperty, EveryReadIsSentOnceInRunsWithoutGaps, ()) {
  const auto chunks = *rc::gen::unique<std::vector<uint16_t>>(rc::gen::inRange<uint16_t>(0, 60));
  Queue queue;
  auto lane = std::make_shared<Lane>();
  lane->host = std::make_shared<Host>();
  queue.add_lane(lane);
  auto blob = std::make_shared<Blob>();
  blob->lane = lane;
  for (const uint16_t chunk : chunks) {
    bool joined = false;
    const auto priority = *rc::gen::element(Priority::kDemand, Priority::kBackground);
    queue.add(blob, chunk * 100u, 100, priority, {kNow, {}}, joined);
    RC_ASSERT(!joined);
  }

  size_t sent = 0;
  for (const Priority priority : {Priority::kDemand, Priority::kBackground}) {
    for (auto run = queue.take(priority, kNow, 500); !run.empty();
         run = queue.take(priority, kNow, 500)) {
      RC_ASSERT(run.size() <= 5u);
      for (size_t i = 1; i < run.size(); ++i) RC_ASSERT(run[i]->offset == run[i - 1]->end());
      for (const auto& piece : run) RC_ASSERT(piece->priority == priority);
      sent += run.size();
      for (const auto& piece : run) queue.remove(piece);
    }
  }
  RC_ASSERT(sent == chunks.size());
}

}  // namespace
}  // namespace runnel::fetch
