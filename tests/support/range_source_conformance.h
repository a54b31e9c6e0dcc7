// What every RangeSource must do. A test instantiates the suite with a fixture of its own:
//
//   INSTANTIATE_TEST_SUITE_P(Fake, RangeSourceConformance, testing::Values(make_fixture));
#pragma once

#include <gtest/gtest.h>

#include <atomic>
#include <functional>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "fetch/range_source.h"
#include "support/read_answer.h"

namespace runnel::test {

class RangeSourceFixture {
 public:
  virtual ~RangeSourceFixture() = default;
  // A source of these bytes; once for a fixture.
  virtual std::shared_ptr<fetch::RangeSource> source(const std::string& bytes) = 0;
  // From now on reads do not succeed, in a way that may pass; until up().
  virtual void down() = 0;
  // From now on reads are not answered at all; until up().
  virtual void stall() = 0;
  virtual void up() = 0;
  // From now on reads fail for good, with this code: kNotFound or kDenied.
  virtual void refuse(Code code) = 0;
  virtual void shutdown() = 0;
};

using MakeRangeSource = std::function<std::unique_ptr<RangeSourceFixture>()>;

}  // namespace runnel::test

namespace runnel::fetch {

class RangeSourceConformance : public testing::TestWithParam<test::MakeRangeSource> {
 protected:
  static constexpr Duration kLong = std::chrono::seconds(30);
  static SteadyTime in(Duration duration) { return std::chrono::steady_clock::now() + duration; }

  test::ReadAnswer start(uint64_t offset, uint64_t length, Duration within = kLong,
                         Priority priority = Priority::kDemand) {
    test::ReadAnswer answer;
    source_->read(offset, length, priority, in(within), answer.done());
    return answer;
  }
  Result<Buffer> read(uint64_t offset, uint64_t length, Duration within = kLong) {
    return start(offset, length, within).wait();
  }
  std::string part(uint64_t offset, uint64_t length) const { return bytes_.substr(offset, length); }

  const std::unique_ptr<test::RangeSourceFixture> fixture_ = GetParam()();
  const std::string bytes_ = test::random_text(1'000'000);
  const std::shared_ptr<RangeSource> source_ = fixture_->source(bytes_);
};

TEST_P(RangeSourceConformance, GivesExactlyTheRange) {
  EXPECT_EQ(source_->size(), bytes_.size());
  for (const auto& [offset, length] : std::vector<std::pair<uint64_t, uint64_t>>{
           {0, 1}, {0, 1'000'000}, {999'999, 1}, {12'345, 131'072}, {500'000, 500'000}}) {
    auto got = read(offset, length);

    ASSERT_TRUE(got) << got.error().message;
    EXPECT_TRUE(as_text(*got) == part(offset, length)) << offset;
  }
}

TEST_P(RangeSourceConformance, GivesAnEmptyRangeAnywhere) {
  for (const uint64_t offset : {0u, 5u, 1'000'000u}) EXPECT_EQ(read(offset, 0).value(), Buffer());
}

TEST_P(RangeSourceConformance, RefusesARangeThatIsNotInTheBlob) {
  for (const auto& [offset, length] : std::vector<std::pair<uint64_t, uint64_t>>{
           {0, 1'000'001}, {1'000'000, 1}, {1'000'001, 0}, {5, UINT64_MAX}, {UINT64_MAX, 2}})
    EXPECT_EQ(read(offset, length).error().code, Code::kInvalid) << offset;
}

TEST_P(RangeSourceConformance, AnswersOnAThreadOfItsOwn) {
  for (const uint64_t length : {0u, 10u, 2'000'000u}) {
    auto answer = start(0, length);
    (void)answer.wait();

    EXPECT_NE(answer.thread(), std::this_thread::get_id());
  }
}

TEST_P(RangeSourceConformance, AnswersEachOfManyReadsOnceAndWithItsOwnBytes) {
  constexpr int kThreads = 4;
  constexpr int kReads = 100;
  std::vector<std::vector<test::ReadAnswer>> answers(kThreads);
  const auto offset_of = [](int thread, int i) -> uint64_t {
    return (static_cast<uint64_t>(thread) * 7919 + static_cast<uint64_t>(i) * 104'729) % 900'000;
  };

  std::vector<std::thread> threads;
  for (int t = 0; t < kThreads; ++t)
    threads.emplace_back([&, t] {
      for (int i = 0; i < kReads; ++i)
        answers[static_cast<size_t>(t)].push_back(
            start(offset_of(t, i), 5000, kLong, static_cast<Priority>(i % 3)));
    });
  for (auto& thread : threads) thread.join();

  for (int t = 0; t < kThreads; ++t)
    for (int i = 0; i < kReads; ++i) {
      auto& answer = answers[static_cast<size_t>(t)][static_cast<size_t>(i)];
      auto got = answer.wait();
      ASSERT_TRUE(got) << got.error().message;
      EXPECT_TRUE(as_text(*got) == part(offset_of(t, i), 5000));
      EXPECT_EQ(answer.calls(), 1);
    }
}

TEST_P(RangeSourceConformance, ReadsOfOneRangeAllGetIt) {
  std::vector<test::ReadAnswer> answers;
  for (const Priority priority : {Priority::kBackground, Priority::kPrefetch, Priority::kDemand,
                                  Priority::kDemand, Priority::kBackground})
    answers.push_back(start(1000, 2000, kLong, priority));

  for (auto& answer : answers) EXPECT_TRUE(as_text(answer.wait().value()) == part(1000, 2000));
}

TEST_P(RangeSourceConformance, AnAnswerMayRead) {
  test::ReadAnswer second;
  source_->read(0, 10, Priority::kDemand, in(kLong), [&](const Result<Buffer>&) {
    source_->read(10, 10, Priority::kDemand, in(kLong), second.done());
  });

  EXPECT_TRUE(as_text(second.wait().value()) == part(10, 10));
}

TEST_P(RangeSourceConformance, ADeadlineThatHasPassedIsUnavailable) {
  EXPECT_EQ(read(0, 10, std::chrono::seconds(-1)).error().code, Code::kUnavailable);
}

TEST_P(RangeSourceConformance, EndsAReadByItsDeadlineWhenNothingComes) {
  fixture_->stall();
  const auto begin = std::chrono::steady_clock::now();

  auto got = read(0, 10, std::chrono::milliseconds(60));
  const auto took = std::chrono::steady_clock::now() - begin;

  ASSERT_FALSE(got);
  EXPECT_EQ(got.error().code, Code::kUnavailable);
  EXPECT_LT(took, std::chrono::seconds(5));
  fixture_->up();
}

TEST_P(RangeSourceConformance, ADeadlineIsEachReadersOwn) {
  fixture_->stall();
  auto patient = start(0, 10);
  auto hasty = start(0, 10, std::chrono::milliseconds(60));

  EXPECT_EQ(hasty.wait().error().code, Code::kUnavailable);
  EXPECT_EQ(patient.calls(), 0);
  fixture_->up();
  EXPECT_TRUE(as_text(patient.wait().value()) == part(0, 10));
}

TEST_P(RangeSourceConformance, ReadsAgainAfterAnOutage) {
  ASSERT_TRUE(read(0, 10));
  fixture_->down();
  for (uint64_t i = 0; i < 5; ++i)
    EXPECT_EQ(read(i, 10, std::chrono::milliseconds(50)).error().code, Code::kUnavailable);

  fixture_->up();

  auto got = read(20, 10);
  ASSERT_TRUE(got) << got.error().message;
  EXPECT_TRUE(as_text(*got) == part(20, 10));
}

TEST_P(RangeSourceConformance, AnEndedBlobOrRightIsToldAtOnce) {
  for (const Code code : {Code::kNotFound, Code::kDenied}) {
    fixture_->refuse(code);
    const auto begin = std::chrono::steady_clock::now();

    EXPECT_EQ(read(0, 10).error().code, code);
    EXPECT_LT(std::chrono::steady_clock::now() - begin, std::chrono::seconds(5));
    fixture_->up();
  }
}

TEST_P(RangeSourceConformance, ShutdownAnswersEverything) {
  fixture_->stall();
  std::vector<test::ReadAnswer> answers;
  for (uint64_t i = 0; i < 100; ++i) answers.push_back(start(i * 1000, 1000));

  fixture_->shutdown();

  for (auto& answer : answers) {
    EXPECT_EQ(answer.calls(), 1) << "and every answer was given when shutdown() returned";
    EXPECT_EQ(answer.wait().error().code, Code::kCancelled);
  }
  EXPECT_EQ(read(0, 10).error().code, Code::kCancelled);
}

TEST_P(RangeSourceConformance, ShutdownWhileReadsComeLosesNone) {
  std::vector<test::ReadAnswer> answers;
  std::atomic<int> started = 0;
  std::thread reader([&] {
    for (uint64_t i = 0; i < 500; ++i) {
      answers.push_back(start(i, 1000));
      ++started;
    }
  });
  while (started < 50) std::this_thread::yield();

  fixture_->shutdown();
  reader.join();

  for (auto& answer : answers) {
    auto got = answer.wait();
    if (!got) EXPECT_EQ(got.error().code, Code::kCancelled);
  }
}

}  // namespace runnel::fetch
