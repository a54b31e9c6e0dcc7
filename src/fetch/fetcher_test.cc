#include "fetch/fetcher.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <thread>

#include "fetch/background_gate.h"
#include "support/fetcher_fixture.h"

namespace runnel::fetch {
namespace {

using namespace std::chrono_literals;
using test::FakeRegistry;
using test::Fault;
using test::ReadAnswer;

class FetcherTest : public test::FetcherFixture {};

// --- Order

TEST_F(FetcherTest, NeighboursThatWaitGoOutAsOneRequest) {
  options_.max_in_flight = 1;
  publish(100'000);
  auto first = occupy(1);
  std::vector<ReadAnswer> answers;
  for (const uint64_t offset : {3000u, 1000u, 2000u, 4000u}) answers.push_back(start(offset, 1000));

  expect_bytes(answers[0], 3000, 1000);
  expect_bytes(answers[1], 1000, 1000);
  expect_bytes(answers[2], 2000, 1000);
  expect_bytes(answers[3], 4000, 1000);
  EXPECT_EQ(ranges(), (std::vector<std::string>{"bytes=0-0", "bytes=1000-4999"}));
}

TEST_F(FetcherTest, DemandGoesFirstAndBackgroundLast) {
  options_.max_in_flight = 1;
  publish(100'000);
  auto first = occupy(1);
  auto background = start(10'000, 10, Priority::kBackground);
  auto prefetch = start(20'000, 10, Priority::kPrefetch);
  auto demand = start(30'000, 10, Priority::kDemand);

  expect_bytes(background, 10'000, 10);
  expect_bytes(prefetch, 20'000, 10);
  expect_bytes(demand, 30'000, 10);
  EXPECT_EQ(ranges(), (std::vector<std::string>{"bytes=0-0", "bytes=30000-30009",
                                                "bytes=20000-20009", "bytes=10000-10009"}));
}

TEST_F(FetcherTest, AQueuedReadIsRaisedByOneOfTheSameRange) {
  options_.max_in_flight = 1;
  publish(100'000);
  auto first = occupy(1);
  auto low = start(10'000, 10, Priority::kBackground);
  auto prefetch = start(20'000, 10, Priority::kPrefetch);
  auto same = start(10'000, 10, Priority::kDemand);

  expect_bytes(low, 10'000, 10);
  expect_bytes(same, 10'000, 10);
  expect_bytes(prefetch, 20'000, 10);
  EXPECT_EQ(ranges(),
            (std::vector<std::string>{"bytes=0-0", "bytes=10000-10009", "bytes=20000-20009"}));
  EXPECT_EQ(fetcher().stats()[Priority::kDemand].joined, 1u);
}

TEST_F(FetcherTest, DemandFindsAFreeConnectionBesideAnyPrefetch) {
  options_.max_in_flight = 4;
  options_.max_prefetch = 3;
  options_.max_background = 1;
  publish(1'000'000);
  registry_.inject("/blobs/", {.stall = true}, 3);
  std::vector<ReadAnswer> slow;
  for (uint64_t i = 0; i < 50; ++i) {
    slow.push_back(start(i * 2000, 100, Priority::kPrefetch));
    slow.push_back(start(i * 2000 + 1000, 100, Priority::kBackground));
  }
  while (registry_.seen().size() < 3) std::this_thread::yield();

  expect_bytes(start(500'000, 100), 500'000, 100);

  const FetchStats stats = fetcher().stats();
  EXPECT_EQ(stats[Priority::kPrefetch].in_flight + stats[Priority::kBackground].in_flight, 3u);
  EXPECT_LE(stats[Priority::kBackground].in_flight, 1u);
}

TEST_F(FetcherTest, WhatBecomesUrgentDoesNotWaitForMuchBeforeIt) {
  options_.max_bytes_before = 1000;
  publish(100'000);
  registry_.inject("/blobs/", {.stall = true}, 1);
  std::vector<ReadAnswer> low(4);
  std::vector<RangeSource::Part> parts;
  for (uint64_t i = 0; i < low.size(); ++i)
    parts.push_back({.offset = i * 1000, .length = 1000, .done = low[i].done()});
  source_->read_each(std::move(parts), Priority::kBackground,
                     std::chrono::steady_clock::now() + 30s);
  while (registry_.seen().empty()) std::this_thread::yield();

  auto near = start(1000, 1000);
  expect_bytes(start(3000, 1000), 3000, 1000);
  expect_bytes(low[3], 3000, 1000);

  EXPECT_EQ(ranges(), (std::vector<std::string>{"bytes=0-3999", "bytes=3000-3999"}));
  EXPECT_EQ(fetcher().stats()[Priority::kDemand].joined, 1u) << "the near one waits";
}

TEST_F(FetcherTest, StalledRequestsGiveWayToDemandThatWaits) {
  options_.max_in_flight = 2;
  options_.give_way = 50ms;
  publish(100'000);
  registry_.inject("/blobs/", {.stall = true}, 2);
  auto stalled = start(0, 10);
  auto background = start(10'000, 10, Priority::kBackground);
  while (registry_.seen().size() < 2) std::this_thread::yield();

  expect_bytes(start(20'000, 10), 20'000, 10);  // long before the stall timeout

  expect_bytes(stalled, 0, 10);
  expect_bytes(background, 10'000, 10);
}

TEST_F(FetcherTest, ARequestThatNobodyWaitsBehindTakesItsTime) {
  options_.max_in_flight = 1;
  options_.give_way = 20ms;
  publish(100'000);
  registry_.inject("/blobs/", {.delay_ms = 200});
  auto slow = start(0, 10);
  auto background = start(10'000, 10, Priority::kBackground);

  expect_bytes(slow, 0, 10);
  expect_bytes(background, 10'000, 10);
  EXPECT_EQ(registry_.seen().size(), 2u);
}

TEST_F(FetcherTest, WhatIsOnlySlowIsHeardThoughOthersWait) {
  options_.max_in_flight = 1;
  options_.give_way = 100ms;
  publish(100'000);
  registry_.inject("/blobs/", {.delay_ms = 250}, 20);  // more than twice that, less than four times

  std::vector<ReadAnswer> answers;
  for (uint64_t i = 0; i < 3; ++i) answers.push_back(start(i * 20'000, 10));

  for (uint64_t i = 0; i < 3; ++i) expect_bytes(answers[i], i * 20'000, 10);
}

TEST_F(FetcherTest, EachReadIsAnsweredAsItsBytesArrive) {
  options_.max_in_flight = 1;
  publish(3'000'000);
  auto first = occupy(1);
  auto early = start(0, 1'000'000);
  auto late = start(1'000'000, 1'000'000);
  registry_.inject("/blobs/", {.cut_after = 1'500'000, .stall = true});

  expect_bytes(early, 0, 1'000'000);
  EXPECT_EQ(late.calls(), 0) << "its second half has not come";
}

TEST_F(FetcherTest, TellsWhenBytesCameOfABlobAndTakesNoRefusalForThem) {
  publish(1'000'000);
  registry_.inject("/blobs/", {.status = 500, .headers = {}, .body = "disk on fire"}, 1000);
  ASSERT_FALSE(start(0, 10, Priority::kDemand, 50ms).wait());
  EXPECT_EQ(source_->heard_at(), SteadyTime());

  // No try of the first read may take the fault that is meant for the second.
  while (fetcher().stats()[Priority::kDemand].in_flight > 0) std::this_thread::yield();
  registry_.forget_faults();
  const auto before = clock_.now();
  registry_.inject("/blobs/", {.cut_after = 100'000, .stall = true}, 1000);
  ASSERT_FALSE(start(1000, 500'000, Priority::kDemand, 500ms).wait()) << "it stalls";

  EXPECT_GT(source_->heard_at(), before);
}

// --- Failures

TEST_F(FetcherTest, TriesAgainWhatMayPass) {
  publish(100'000);
  registry_.inject("/blobs/", {.status = 500});
  registry_.inject("/blobs/", {.status = 429});
  registry_.inject("/blobs/", {.wrong_range = true});
  registry_.inject("/blobs/", {.cut_after = 0});

  expect_bytes(start(1000, 5000), 1000, 5000);

  EXPECT_EQ(fetcher().stats()[Priority::kDemand].retries, 4u);
}

TEST_F(FetcherTest, GoesOnWhereAnAnswerStopped) {
  options_.stall_timeout = 200ms;
  publish(1'000'000);
  registry_.inject("/blobs/", {.cut_after = 100'000, .stall = true});

  expect_bytes(start(1000, 500'000), 1000, 500'000);

  EXPECT_EQ(ranges(), (std::vector<std::string>{"bytes=1000-500999", "bytes=101000-500999"}));
}

TEST_F(FetcherTest, TriesForAsLongAsThereIsTimeHoweverFastItIsRefused) {
  publish(1000);
  registry_.inject("/blobs/", {.status = 500}, 60);  // half a second of them

  expect_bytes(start(0, 10), 0, 10);

  EXPECT_EQ(registry_.seen().size(), 61u);
}

TEST_F(FetcherTest, GivesUpAtItsDeadlineInTheRegistrysWords) {
  publish(1000);
  registry_.inject(
      "/blobs/",
      {.status = 500, .headers = {{"Content-Type", "text/plain"}}, .body = "disk on fire"}, 1000);

  auto got = start(0, 10, Priority::kDemand, 200ms).wait();

  ASSERT_FALSE(got);
  EXPECT_EQ(got.error().code, Code::kUnavailable);
  EXPECT_NE(got.error().message.find("500 Internal Server Error: disk on fire"), std::string::npos);
  EXPECT_NE(got.error().message.find(registry_.host() + "/team/app: blob sha256:"),
            std::string::npos);
}

TEST_F(FetcherTest, NeverTakesOtherBytesForTheRange) {
  publish(3'000'000);
  registry_.set({.ignore_ranges = true});

  expect_bytes(start(500'000, 1000), 500'000, 1000);
  auto far = start(2'000'000, 1000).wait();
  ASSERT_FALSE(far);
  EXPECT_EQ(far.error().code, Code::kUnsupported);
  EXPECT_NE(far.error().message.find("ignores ranges"), std::string::npos);
  EXPECT_LE(registry_.seen().size(), 4u) << "no time cures it";
}

TEST_F(FetcherTest, AsksAgainWhenARangeIsIgnoredOnce) {
  publish(3'000'000);
  registry_.inject("/blobs/", {.ignore_range = true}, 2);

  expect_bytes(start(2'000'000, 1000), 2'000'000, 1000);
}

TEST_F(FetcherTest, ABlobOfAnotherSizeIsNotBelieved) {
  publish(10'000);
  source_ = fetcher().source(registry_.host(), "team/app", digest_, 20'000);

  EXPECT_EQ(start(0, 100, Priority::kDemand, 100ms).wait().error().code, Code::kUnavailable);
}

TEST_F(FetcherTest, WaitsAsLongAsTheRegistryAsksWithinTheDeadline) {
  publish(1000);
  registry_.inject("/blobs/", {.status = 429, .headers = {{"Retry-After", "1"}}});
  const auto begin = std::chrono::steady_clock::now();

  expect_bytes(start(0, 10), 0, 10);

  EXPECT_GE(std::chrono::steady_clock::now() - begin, 1s);
  EXPECT_EQ(registry_.seen().size(), 2u);
}

TEST_F(FetcherTest, TriesAgainBeforeItsDeadlineWhateverTheRegistryAsks) {
  publish(1000);
  registry_.inject("/blobs/", {.status = 503, .headers = {{"Retry-After", "3600"}}}, 2);
  const auto begin = std::chrono::steady_clock::now();

  expect_bytes(start(0, 10, Priority::kDemand, 4s), 0, 10);

  EXPECT_GE(std::chrono::steady_clock::now() - begin, 2900ms)
      << "half of its time, then half of that";
  EXPECT_EQ(registry_.seen().size(), 3u);
}

TEST_F(FetcherTest, LeavesThoseThatHaveLessTimeAnAttemptWhateverTheRegistryAskedAnother) {
  options_.max_in_flight = 1;
  publish(1000);
  registry_.inject("/blobs/", {.status = 429, .headers = {{"Retry-After", "3600"}}});
  auto patient = start(0, 10, Priority::kDemand, 60s);
  auto hasty = start(500, 10, Priority::kDemand, 2s);

  expect_bytes(hasty, 500, 10);
  EXPECT_EQ(patient.calls(), 0) << "it waits as it was asked";
}

TEST_F(FetcherTest, EndsAtItsDeadlineWhenTheRegistryAsksForMoreTimeAgainAndAgain) {
  publish(1000);
  registry_.inject("/blobs/", {.status = 503, .headers = {{"Retry-After", "3600"}}}, 1000);
  const auto begin = std::chrono::steady_clock::now();

  EXPECT_EQ(start(0, 10, Priority::kDemand, 300ms).wait().error().code, Code::kUnavailable);

  EXPECT_GE(std::chrono::steady_clock::now() - begin, 300ms);
  EXPECT_LT(registry_.seen().size(), 30u);
}

TEST_F(FetcherTest, UnderstandsWhenToComeBackAsADate) {
  publish(1000);
  registry_.inject("/blobs/",
                   {.status = 429, .headers = {{"Retry-After", "Sun, 06 Nov 1994 08:49:37 GMT"}}});
  expect_bytes(start(0, 10), 0, 10);

  registry_.inject("/blobs/",
                   {.status = 429, .headers = {{"Retry-After", "Sun, 06 Nov 2994 08:49:37 GMT"}}});
  const auto begin = std::chrono::steady_clock::now();
  expect_bytes(start(500, 10, Priority::kDemand, 2s), 500, 10);
  EXPECT_GE(std::chrono::steady_clock::now() - begin, 900ms);
}

TEST_F(FetcherTest, AThousandReadsOfADeadRegistryAreFewAttempts) {
  options_.backoff = {.first_delay = 50ms, .longest_delay = 100ms};
  publish(1'000'000);
  registry_.stop();
  std::vector<ReadAnswer> answers;
  for (uint64_t i = 0; i < 1000; ++i)
    answers.push_back(start(i * 1000, 10, Priority::kDemand, 400ms));

  for (auto& answer : answers) {
    auto got = answer.wait();
    ASSERT_FALSE(got);
    EXPECT_EQ(got.error().code, Code::kUnavailable);
  }
  EXPECT_LT(fetcher().stats()[Priority::kDemand].requests, 400u);
  EXPECT_EQ(fetcher().stats()[Priority::kDemand].failures, 1000u);
}

TEST_F(FetcherTest, ReadsWaitForARegistryThatComesBack) {
  publish(1000);
  registry_.stop();
  auto answer = start(0, 10);
  while (fetcher().stats()[Priority::kDemand].retries < 3) std::this_thread::yield();

  registry_.start();

  expect_bytes(answer, 0, 10);
}

// --- The rest

TEST_F(FetcherTest, TwoSourcesOfABlobShareARead) {
  options_.max_in_flight = 1;
  publish(1000);
  auto first = occupy(1);
  auto one = start(500, 10);
  source_ = fetcher().source(registry_.host(), "team/app", digest_, 1000);
  auto two = start(500, 10);

  expect_bytes(one, 500, 10);
  expect_bytes(two, 500, 10);
  EXPECT_EQ(registry_.seen().size(), 2u);
}

TEST_F(FetcherTest, ARequestThatNobodyWaitsForIsCancelled) {
  options_.max_in_flight = 1;
  publish(1000);
  registry_.inject("/blobs/", {.stall = true});
  EXPECT_EQ(start(0, 10, Priority::kBackground, 50ms).wait().error().code, Code::kUnavailable);

  // The only connection is free again, long before the stall timeout.
  expect_bytes(start(100, 10), 100, 10);
}

// --- The background

TEST_F(FetcherTest, TheBackgroundWaitsUntilNobodyHasWaitedForAWhile) {
  publish(100'000);
  EXPECT_TRUE(source_->takes_background());
  auto slow = occupy(1);
  auto background = start(10'000, 10, Priority::kBackground);
  auto demand = start(20'000, 10, Priority::kDemand);
  expect_bytes(demand, 20'000, 10);
  EXPECT_FALSE(source_->takes_background());
  ASSERT_TRUE(slow[0].wait());
  const auto last = std::chrono::steady_clock::now();

  expect_bytes(background, 10'000, 10);

  EXPECT_GE(std::chrono::steady_clock::now() - last, BackgroundGate::kQuiet - 50ms);
  EXPECT_EQ(ranges().back(), "bytes=10000-10009");
  EXPECT_TRUE(source_->takes_background());
}

TEST_F(FetcherTest, TheBackgroundWaitsForWhatComesPastTheFetcher) {
  publish(100'000);
  auto hold = fetcher().hold_background();
  EXPECT_FALSE(source_->takes_background());
  auto background = start(10'000, 10, Priority::kBackground);
  expect_bytes(start(20'000, 10, Priority::kDemand), 20'000, 10);
  EXPECT_EQ(registry_.seen().size(), 1u);

  hold.reset();

  expect_bytes(background, 10'000, 10);
}

TEST_F(FetcherTest, WhatIsInFlightOfTheBackgroundMakesWayAndIsSentAgain) {
  publish(100'000);
  registry_.inject("/blobs/", {.stall = true});
  auto background = start(10'000, 10, Priority::kBackground);
  while (registry_.seen().empty()) std::this_thread::yield();

  fetcher().hold_background().reset();

  expect_bytes(background, 10'000, 10);  // long before the stall timeout
  EXPECT_EQ(ranges(), (std::vector<std::string>{"bytes=10000-10009", "bytes=10000-10009"}));
}

TEST_F(FetcherTest, WhoComesToWantWhatMadeWayHasItAtOnce) {
  publish(100'000);
  registry_.inject("/blobs/", {.stall = true});
  auto background = start(10'000, 10, Priority::kBackground);
  while (registry_.seen().empty()) std::this_thread::yield();
  const auto hold = fetcher().hold_background();

  expect_bytes(start(10'000, 10, Priority::kDemand, 800ms), 10'000, 10);
  expect_bytes(background, 10'000, 10);
}

TEST_F(FetcherTest, CountsWhatItDid) {
  publish(10'000);
  expect_bytes(start(0, 100), 0, 100);
  expect_bytes(start(1000, 200, Priority::kPrefetch), 1000, 200);
  (void)start(20'000, 1, Priority::kBackground).wait();

  const FetchStats stats = fetcher().stats();
  EXPECT_EQ(stats[Priority::kDemand].requests, 1u);
  EXPECT_EQ(stats[Priority::kDemand].bytes, 100u);
  EXPECT_EQ(stats[Priority::kPrefetch].bytes, 200u);
  EXPECT_EQ(stats[Priority::kBackground].reads, 1u);
  EXPECT_EQ(stats[Priority::kBackground].requests, 0u);
  for (const auto& counts : stats.of) EXPECT_EQ(counts.queued, 0u);
}

}  // namespace
}  // namespace runnel::fetch
