#include "node/start_log.h"

#include <gtest/gtest.h>

#include "support/fake_clock.h"

namespace runnel::node {
namespace {

using timeline::Span;

class StartLogTest : public testing::Test {
 protected:
  StartLogTest() { clock_.advance(std::chrono::hours(1)); }

  net::TransferReport request(uint64_t number, std::string about, std::string url) {
    net::TransferReport report;
    report.number = number;
    report.about = std::move(about);
    report.url = std::move(url);
    report.asked = clock_.now();
    return report;
  }
  void whole(net::TransferReport report) {
    log_.transfer(report);
    report.ended = clock_.now();
    log_.transfer(report);
  }

  test::FakeClock clock_;
  StartLog log_{clock_};
};

TEST_F(StartLogTest, KeepsARequestOnceFromItsBeginToItsEnd) {
  auto report = request(1, "r.example/a", "https://r.example/v2/a/blobs/x");
  log_.transfer(report);
  ASSERT_EQ(log_.start("r.example/a", "r.example").requests.size(), 1u);
  EXPECT_EQ(log_.start("r.example/a", "r.example").requests[0].ended, SteadyTime());

  report.ended = clock_.now();
  report.bytes = 7;
  log_.transfer(report);
  const auto start = log_.start("r.example/a", "r.example");
  ASSERT_EQ(start.requests.size(), 1u);
  EXPECT_EQ(start.requests[0].bytes, 7u);
}

TEST_F(StartLogTest, KnowsWhatTheMirrorAsksForByItsAddress) {
  whole(request(1, "", "https://registry-1.docker.io/v2/library/a/manifests/1"));
  whole(request(2, "docker.io/library/a", "https://registry-1.docker.io/v2/library/a/blobs/x"));
  whole(request(3, "", "https://registry-1.docker.io/v2/library/b/manifests/1"));
  whole(request(4, "", "https://registry-1.docker.io/v2/"));

  EXPECT_EQ(log_.start("docker.io/library/a", "registry-1.docker.io").requests.size(), 2u);
  EXPECT_EQ(log_.start("docker.io/library/c", "registry-1.docker.io").requests.size(), 0u);
}

TEST_F(StartLogTest, ForgetsAnEarlierStartButNotWhatLedToThisOne) {
  whole(request(1, "r/a", ""));
  clock_.advance(std::chrono::minutes(1));
  whole(request(2, "", "http://r/v2/a/manifests/1"));
  auto fill = request(4, "r/a", "");
  fill.purpose = "background";
  whole(fill);
  clock_.advance(std::chrono::seconds(1));
  log_.begin("r/a");
  whole(request(3, "r/a", ""));

  const auto start = log_.start("r/a", "r");
  ASSERT_EQ(start.requests.size(), 2u);
  EXPECT_EQ(start.requests[0].number, 2u);
}

TEST_F(StartLogTest, KeepsWhatTheNodeAskedSinceTheImageWasExpected) {
  auto earlier = request(1, "r/a", "");
  earlier.purpose = "node";
  whole(earlier);
  clock_.advance(std::chrono::seconds(1));
  log_.expect("r/a");
  auto early = request(2, "r/a", "");
  early.purpose = "node";
  whole(early);
  auto fill = request(3, "r/a", "");
  fill.purpose = "background";
  whole(fill);
  clock_.advance(std::chrono::seconds(1));
  log_.expect("r/a");  // again, and no later than before

  log_.begin("r/a");

  const auto start = log_.start("r/a", "r");
  ASSERT_EQ(start.requests.size(), 1u);
  EXPECT_EQ(start.requests[0].number, 2u);
  log_.begin("r/a");
  EXPECT_TRUE(log_.start("r/a", "r").requests.empty()) << "that was the one that was expected";
}

TEST_F(StartLogTest, TellsAStartFromOneStraightBeforeIt) {
  whole(request(1, "", "http://r/v2/a/manifests/1"));
  log_.begin("r/a");
  {
    const StartLog::Step first(&log_, "r/a", Span::Kind::kPreparation, "preparation");
    clock_.advance(std::chrono::seconds(1));
  }
  clock_.advance(std::chrono::seconds(1));
  whole(request(2, "", "http://r/v2/a/manifests/1"));
  clock_.advance(std::chrono::seconds(1));
  log_.begin("r/a");

  const auto start = log_.start("r/a", "r");
  ASSERT_EQ(start.requests.size(), 1u);
  EXPECT_EQ(start.requests[0].number, 2u);
  EXPECT_TRUE(start.steps.empty());
}

TEST_F(StartLogTest, TellsAPullFromOneThatFoundEverythingHere) {
  uint64_t number = 0;
  const auto asks = [&](const char* method, const std::string& what, int status,
                        const char* error = "") {
    auto report = request(++number, "", "http://r/v2/a/manifests/" + what);
    report.method = method;
    report.status = status;
    report.error = error;
    whole(report);
    clock_.advance(std::chrono::milliseconds(10));
  };
  asks("HEAD", "1", 200);
  asks("HEAD", "1", 401);  // from here on it is another pull
  asks("HEAD", "1", 200);
  asks("GET", "sha256:index", 200, "the connection broke");
  asks("GET", "sha256:index", 200);
  asks("GET", "sha256:manifest", 200);

  log_.begin("r/a");

  const auto start = log_.start("r/a", "r");
  ASSERT_EQ(start.requests.size(), 5u);
  EXPECT_EQ(start.requests[0].status, 401);
}

TEST_F(StartLogTest, CountsWhatThereIsNoRoomFor) {
  log_.begin("r/a");
  for (uint64_t i = 1; i <= StartLog::kMaxRequests + 5; ++i) whole(request(i, "r/a", ""));
  for (uint64_t i = 1; i <= StartLog::kMaxRequests + 5; ++i)
    whole(request(10'000 + i, "", "http://mirrored/v2/a/blobs/x"));
  EXPECT_EQ(log_.start("mirrored/a", "mirrored").requests.back().number,
            10'000 + StartLog::kMaxRequests + 5)
      << "of what has no start, the latest";

  const auto start = log_.start("r/a", "r");
  EXPECT_EQ(start.requests.size(), StartLog::kMaxRequests);
  EXPECT_EQ(start.requests.front().number, 1u) << "the beginning is what is asked about";
  EXPECT_EQ(start.dropped, 5u);
}

TEST_F(StartLogTest, KeepsTheLatestRepositories) {
  for (size_t i = 0; i <= StartLog::kMaxStarts; ++i) {
    clock_.advance(std::chrono::milliseconds(1));
    whole(request(i + 1, fmt::format("r/{}", i), ""));
  }
  EXPECT_EQ(log_.start("r/0", "r").requests.size(), 0u);
  EXPECT_EQ(log_.start("r/1", "r").requests.size(), 1u);
}

TEST_F(StartLogTest, NotesStepsWhileTheyGoOnAndWhenTheyEnd) {
  {
    const StartLog::Step step(&log_, "r/a", Span::Kind::kStep, "mount");
    EXPECT_EQ(log_.start("r/a", "r").steps.at(0).end, timeline::kNone);
    clock_.advance(std::chrono::milliseconds(3));
  }
  const auto step = log_.start("r/a", "r").steps.at(0);
  EXPECT_EQ(step.what, "mount");
  EXPECT_EQ(step.end - step.begin, 3000);
  const StartLog::Step nobody(nullptr, "r/a", Span::Kind::kStep, "mount");
}

TEST_F(StartLogTest, FindsCallsByWhatTheyName) {
  const auto first = log_.call_begun("Prepare", "default/1/container");
  log_.call_begun("Prepare", "default/2/other");
  clock_.advance(std::chrono::milliseconds(2));
  log_.call_ended(first, "ok");
  log_.call_ended(77, "ok");  // no such call

  const auto calls = log_.calls({"/container"});
  ASSERT_EQ(calls.size(), 1u);
  EXPECT_EQ(calls[0].detail, "default/1/container: ok");
  EXPECT_EQ(calls[0].end - calls[0].begin, 2000);
  for (size_t i = 0; i < StartLog::kMaxCalls; ++i) log_.call_begun("Stat", "x");
  EXPECT_TRUE(log_.calls({"/container"}).empty());
}

}  // namespace
}  // namespace runnel::node
