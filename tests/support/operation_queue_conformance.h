// What every OperationQueue must do. A driver's test instantiates the suite with a fixture:
//
//   INSTANTIATE_TEST_SUITE_P(Sqlite, OperationQueueConformance, testing::Values(make_fixture));
#pragma once

#include <gtest/gtest.h>

#include <functional>
#include <limits>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "meta/operation_queue.h"
#include "support/fake_clock.h"

namespace runnel::test {

class OperationQueueFixture {
 public:
  virtual ~OperationQueueFixture() = default;
  // Its operations' ids are "1", "2", …
  virtual meta::OperationQueue& queue() = 0;
  // Another queue on the same data, as a second process has.
  virtual std::unique_ptr<meta::OperationQueue> second() = 0;
  // As if the process had ended and started again.
  virtual void reopen() = 0;
  // The queue's own.
  virtual FakeClock& clock() = 0;
};

using MakeOperationQueue = std::function<std::unique_ptr<OperationQueueFixture>()>;

}  // namespace runnel::test

namespace runnel::meta {

class OperationQueueConformance : public testing::TestWithParam<test::MakeOperationQueue> {
 protected:
  using Status = OperationStatus;
  using Ids = std::vector<std::string>;

  static constexpr int64_t kFirstPage = std::numeric_limits<int64_t>::max();
  static constexpr Duration kLifetime = std::chrono::seconds(10);

  OperationQueue& queue() { return fixture_->queue(); }
  test::OperationQueueFixture& fixture() { return *fixture_; }
  test::FakeClock& clock() { return fixture_->clock(); }

  static oci::Digest digest(std::string_view text) { return oci::Digest::of(as_bytes(text)); }

  static NewOperation wanted(std::string_view repository, std::string_view image,
                             OperationPriority priority = OperationPriority::kAutomatic) {
    return {.repository = std::string(repository),
            .digest = digest(image),
            .priority = priority,
            .principal = "user:alice"};
  }

  // The id of a new or joined operation.
  std::string enqueue(std::string_view repository, std::string_view image,
                      OperationPriority priority = OperationPriority::kAutomatic) {
    return queue().enqueue(wanted(repository, image, priority)).value().operation.id;
  }

  // The claimed operation's id, or "none".
  std::string claim(std::string_view owner = "w") {
    const auto claimed = queue().claim(owner, kLifetime).value();
    return claimed ? claimed->id : "none";
  }

  Operation operation(std::string_view id) { return queue().operation(id).value().value(); }

  Ids list(const OperationFilter& filter, int64_t before = kFirstPage, size_t limit = 10) {
    Ids ids;
    for (const auto& each : queue().operations(filter, before, limit).value())
      ids.push_back(each.id);
    return ids;
  }

 private:
  const std::unique_ptr<test::OperationQueueFixture> fixture_ = GetParam()();
};

TEST_P(OperationQueueConformance, KeepsAnOperationAsItWasAskedFor) {
  const auto made = queue().enqueue(wanted("team/a", "x", OperationPriority::kPerson)).value();

  EXPECT_FALSE(made.joined);
  EXPECT_EQ(made.operation.id, "1");
  EXPECT_EQ(made.operation.status, Status::kNotStarted);
  EXPECT_EQ(made.operation.repository, "team/a");
  EXPECT_EQ(made.operation.digest, digest("x"));
  EXPECT_EQ(made.operation.principal, "user:alice");
  EXPECT_EQ(made.operation.created, clock().wall());
  EXPECT_EQ(made.operation.started, WallTime());
  EXPECT_EQ(made.operation.percent, 0u);
  fixture().reopen();
  EXPECT_EQ(queue().operation("1").value(), made.operation);
  EXPECT_EQ(queue().operation("absent").value(), std::nullopt);
}

TEST_P(OperationQueueConformance, JoinsARequestForAnImageThatIsUnderWay) {
  const auto first = enqueue("a", "x");
  EXPECT_TRUE(queue().enqueue(wanted("a", "x")).value().joined);
  EXPECT_EQ(enqueue("a", "x"), first);
  EXPECT_NE(enqueue("b", "x"), first);
  EXPECT_NE(enqueue("a", "y"), first);

  ASSERT_EQ(claim(), first);
  EXPECT_EQ(enqueue("a", "x"), first);
  ASSERT_TRUE(queue().finish({first, "w"}, {.status = Status::kSucceeded}).value());
  EXPECT_NE(enqueue("a", "x"), first);
}

TEST_P(OperationQueueConformance, ClaimsThePersonsFirstThenTheOldest) {
  const auto automatic = enqueue("a", "1");
  const auto raised = enqueue("a", "2");
  const auto person = enqueue("a", "3", OperationPriority::kPerson);
  ASSERT_EQ(enqueue("a", "2", OperationPriority::kPerson), raised);
  ASSERT_EQ(enqueue("a", "2", OperationPriority::kAutomatic), raised);

  EXPECT_EQ(claim(), raised);
  EXPECT_EQ(claim(), person);
  EXPECT_EQ(claim(), automatic);
  EXPECT_EQ(claim(), "none");
}

TEST_P(OperationQueueConformance, StartsAnOperationThatIsClaimed) {
  const auto id = enqueue("a", "x");
  clock().advance(std::chrono::seconds(3));
  ASSERT_EQ(claim(), id);

  EXPECT_EQ(operation(id).status, Status::kRunning);
  EXPECT_EQ(operation(id).started, clock().wall());
  EXPECT_EQ(operation(id).attempts, 1u);
}

TEST_P(OperationQueueConformance, GivesAwayAClaimThatNobodyHolds) {
  const auto id = enqueue("a", "x");
  ASSERT_EQ(claim("dead"), id);
  const auto started = operation(id).started;
  clock().advance(kLifetime / 2);
  ASSERT_TRUE(queue().report({id, "dead"}, 30, kLifetime).value());
  clock().advance(kLifetime - std::chrono::seconds(1));
  EXPECT_EQ(claim("other"), "none");
  clock().advance(std::chrono::seconds(1));

  EXPECT_EQ(claim("other"), id);

  EXPECT_EQ(operation(id).attempts, 2u);
  EXPECT_EQ(operation(id).started, started);
  EXPECT_FALSE(queue().report({id, "dead"}, 50, kLifetime).value());
  EXPECT_FALSE(queue().begin_publishing({id, "dead"}, kLifetime).value());
  EXPECT_FALSE(queue().finish({id, "dead"}, {}).value());
  EXPECT_FALSE(queue().release({id, "dead"}).value());
  EXPECT_EQ(operation(id).status, Status::kRunning);
}

TEST_P(OperationQueueConformance, GivesAwayAClaimThatNobodyHoldsThoughTheClockWentBack) {
  const auto id = enqueue("a", "x");
  ASSERT_EQ(claim("dead"), id);
  clock().set_by(-kLifetime / 2);
  EXPECT_EQ(claim("other"), "none");
  clock().set_by(-std::chrono::hours(24 * 365));

  EXPECT_EQ(claim("other"), id);

  EXPECT_EQ(operation(id).attempts, 2u);
  EXPECT_FALSE(queue().report({id, "dead"}, 50, kLifetime).value());
  EXPECT_EQ(claim("third"), "none");
}

TEST_P(OperationQueueConformance, HoldsAClaimThatIsOverUntilSomebodyTakesIt) {
  const auto id = enqueue("a", "x");
  ASSERT_EQ(claim(), id);
  clock().advance(2 * kLifetime);

  EXPECT_TRUE(queue().report({id, "w"}, 10, kLifetime).value());
  EXPECT_EQ(claim("other"), "none");
}

TEST_P(OperationQueueConformance, NeverLetsProgressGoBack) {
  const auto id = enqueue("a", "x");
  ASSERT_EQ(claim(), id);
  ASSERT_TRUE(queue().report({id, "w"}, 40, kLifetime).value());
  ASSERT_TRUE(queue().report({id, "w"}, 8, kLifetime).value());

  EXPECT_EQ(operation(id).percent, 40u);
  ASSERT_TRUE(queue().report({id, "w"}, 4000, kLifetime).value());
  EXPECT_EQ(operation(id).percent, 100u);
}

TEST_P(OperationQueueConformance, KeepsHowAnOperationEnded) {
  const auto good = enqueue("a", "good");
  const auto bad = enqueue("a", "bad");
  ASSERT_EQ(claim(), good);
  ASSERT_EQ(claim(), bad);
  clock().advance(std::chrono::seconds(1));
  ASSERT_TRUE(queue().finish({good, "w"}, {.status = Status::kSucceeded}).value());
  const OperationEnd end{.status = Status::kFailed, .code = "CODE", .message = "why"};
  ASSERT_TRUE(queue().finish({bad, "w"}, end).value());

  EXPECT_EQ(operation(good).status, Status::kSucceeded);
  EXPECT_EQ(operation(good).percent, 100u);
  EXPECT_EQ(operation(good).ended, clock().wall());
  EXPECT_EQ(operation(bad).status, Status::kFailed);
  EXPECT_EQ(operation(bad).code, "CODE");
  EXPECT_EQ(operation(bad).message, "why");
  EXPECT_FALSE(queue().finish({good, "w"}, end).value());
  clock().advance(2 * kLifetime);
  EXPECT_EQ(claim(), "none");
}

TEST_P(OperationQueueConformance, TakesAReleasedOperationBackAsIfItHadNotBeenClaimed) {
  const auto id = enqueue("a", "x");
  ASSERT_EQ(claim(), id);
  ASSERT_TRUE(queue().release({id, "w"}).value());

  EXPECT_EQ(operation(id).status, Status::kNotStarted);
  EXPECT_EQ(operation(id).attempts, 0u);
  EXPECT_EQ(claim("other"), id);
}

TEST_P(OperationQueueConformance, CancelsWhatHasNotEnded) {
  const auto waiting = enqueue("a", "1");
  ASSERT_EQ(queue().cancel(waiting).value(), CancelOutcome::kCanceled);
  const auto running = enqueue("a", "2");
  ASSERT_EQ(claim(), running);
  ASSERT_EQ(queue().cancel(running).value(), CancelOutcome::kCanceled);

  EXPECT_EQ(operation(waiting).status, Status::kCanceled);
  EXPECT_EQ(operation(running).status, Status::kCanceled);
  EXPECT_EQ(operation(running).ended, clock().wall());
  EXPECT_FALSE(queue().report({running, "w"}, 50, kLifetime).value());
  EXPECT_FALSE(queue().begin_publishing({running, "w"}, kLifetime).value());
  EXPECT_EQ(queue().cancel(running).value(), CancelOutcome::kEnded);
  EXPECT_EQ(queue().cancel("absent").value(), CancelOutcome::kAbsent);
  EXPECT_EQ(claim(), "none");
  EXPECT_NE(enqueue("a", "2"), running);
}

TEST_P(OperationQueueConformance, DoesNotCancelWhatBecomesVisible) {
  const auto id = enqueue("a", "x");
  ASSERT_EQ(claim(), id);
  ASSERT_TRUE(queue().begin_publishing({id, "w"}, kLifetime).value());
  EXPECT_EQ(queue().cancel(id).value(), CancelOutcome::kPublishing);
  EXPECT_EQ(operation(id).status, Status::kRunning);

  clock().advance(kLifetime);
  EXPECT_EQ(queue().cancel(id).value(), CancelOutcome::kCanceled);
}

TEST_P(OperationQueueConformance, FindsTheLastOperationOfAnImage) {
  EXPECT_EQ(queue().last_operation("a", digest("x")).value(), std::nullopt);
  const auto first = enqueue("a", "x");
  ASSERT_EQ(queue().cancel(first).value(), CancelOutcome::kCanceled);
  EXPECT_EQ(queue().last_operation("a", digest("x")).value()->id, first);
  const auto second = enqueue("a", "x");

  EXPECT_EQ(queue().last_operation("a", digest("x")).value()->id, second);
  EXPECT_EQ(queue().last_operation("b", digest("x")).value(), std::nullopt);
}

TEST_P(OperationQueueConformance, ListsTheNewestFirstByRepositoryAndStatus) {
  for (const auto* repository : {"a", "b", "a", "a"})
    enqueue(repository, std::to_string(list({}).size()));
  ASSERT_EQ(claim(), "1");
  ASSERT_EQ(queue().cancel("3").value(), CancelOutcome::kCanceled);

  EXPECT_EQ(list({}), (Ids{"4", "3", "2", "1"}));
  EXPECT_EQ(list({.repository = "a"}), (Ids{"4", "3", "1"}));
  EXPECT_EQ(list({.status = Status::kNotStarted}), (Ids{"4", "2"}));
  EXPECT_EQ(list({.repository = "a", .status = Status::kRunning}), Ids{"1"});
  EXPECT_EQ(list({.repository = "b", .status = Status::kRunning}), Ids{});
  EXPECT_EQ(list({.repository = "a"}, kFirstPage, 2), (Ids{"4", "3"}));
  EXPECT_EQ(list({.repository = "a"}, operation("3").position, 2), Ids{"1"});
}

TEST_P(OperationQueueConformance, ForgetsOnlyWhatEndedLongAgo) {
  const auto old = enqueue("a", "old");
  const auto oldest = enqueue("a", "oldest");
  const auto running = enqueue("a", "running");
  ASSERT_EQ(queue().cancel(old).value(), CancelOutcome::kCanceled);
  ASSERT_EQ(queue().cancel(oldest).value(), CancelOutcome::kCanceled);
  clock().advance(std::chrono::hours(1));
  const auto recent = enqueue("a", "recent");
  ASSERT_EQ(queue().cancel(recent).value(), CancelOutcome::kCanceled);
  const auto border = clock().wall();

  EXPECT_EQ(queue().forget_operations(border, 1).value(), 1u);
  EXPECT_EQ(queue().forget_operations(border, 10).value(), 1u);
  EXPECT_EQ(queue().forget_operations(border, 10).value(), 0u);
  EXPECT_EQ(list({}), (Ids{recent, running}));
}

TEST_P(OperationQueueConformance, GivesEachOperationToOneProcessOnly) {
  constexpr size_t kOperations = 40;
  for (size_t i = 0; i < kOperations; ++i) enqueue("a", std::to_string(i));
  const auto second = fixture().second();
  std::vector<size_t> taken(2);
  const auto take_all = [](OperationQueue& from, size_t& count) {
    while (from.claim("w", kLifetime).value()) ++count;
  };
  std::thread other([&] { take_all(*second, taken[1]); });
  take_all(queue(), taken[0]);
  other.join();

  EXPECT_EQ(taken[0] + taken[1], kOperations);
  for (const auto& each : queue().operations({}, kFirstPage, kOperations).value())
    EXPECT_EQ(each.attempts, 1u);
}

GTEST_ALLOW_UNINSTANTIATED_PARAMETERIZED_TEST(OperationQueueConformance);

}  // namespace runnel::meta
