#include "cache/rescue_queue.h"

#include <gtest/gtest.h>

#include <atomic>
#include <future>
#include <memory>

namespace runnel::cache {
namespace {

using std::chrono::seconds;

const SteadyTime kSoon{std::chrono::hours(1)};
const SteadyTime kLater{std::chrono::hours(2)};
constexpr auto kPatience = seconds(20);
// In which something that must not begin has its chance.
constexpr auto kChance = std::chrono::milliseconds(100);

// A job that tells when it begins, and ends when it may.
class Blocking {
 public:
  RescueQueue::Job job(std::string registry, std::optional<SteadyTime> deadline) {
    return {.registry = std::move(registry),
            .deadline = [deadline] { return deadline; },
            .run =
                [began = began_, may_end = may_end_] {
                  began->set_value();
                  may_end.wait();
                }};
  }
  bool begins(auto within) { return begins_.wait_for(within) == std::future_status::ready; }
  void end() { end_.set_value(); }

 private:
  std::shared_ptr<std::promise<void>> began_ = std::make_shared<std::promise<void>>();
  std::future<void> begins_ = began_->get_future();
  std::promise<void> end_;
  std::shared_future<void> may_end_ = end_.get_future().share();
};

RescueQueue::Job at_once(std::string registry, std::optional<SteadyTime> deadline,
                         std::function<void()> run) {
  return {.registry = std::move(registry),
          .deadline = [deadline] { return deadline; },
          .run = std::move(run)};
}

TEST(RescueQueue, TakesTheReaderWithTheLeastTimeFirstAndThoseForNobodyLast) {
  RescueQueue queue(1);
  Blocking first;
  queue.submit(first.job("a", kSoon));
  ASSERT_TRUE(first.begins(kPatience));
  std::string order;
  std::promise<void> done;
  queue.submit(at_once("a", std::nullopt, [&] { order += "nobody "; }));
  queue.submit(at_once("a", std::nullopt, [&] {
    order += "nobody";
    done.set_value();
  }));
  queue.submit(at_once("a", kLater, [&] { order += "later "; }));
  queue.submit(at_once("a", kSoon, [&] { order += "soon "; }));

  first.end();

  ASSERT_EQ(done.get_future().wait_for(kPatience), std::future_status::ready);
  EXPECT_EQ(order, "soon later nobody nobody");
}

TEST(RescueQueue, GivesOneThreadAtMostToWhatNobodyWaitsFor) {
  RescueQueue queue(4);
  Blocking first;
  Blocking second;
  Blocking waited_for;
  queue.submit(first.job("a", std::nullopt));
  ASSERT_TRUE(first.begins(kPatience));

  queue.submit(second.job("b", std::nullopt));
  queue.submit(waited_for.job("c", kSoon));

  EXPECT_TRUE(waited_for.begins(kPatience));
  EXPECT_FALSE(second.begins(kChance));
  first.end();
  EXPECT_TRUE(second.begins(kPatience));
  second.end();
  waited_for.end();
}

TEST(RescueQueue, TakesWhatNobodyWaitedForWhenSomebodyDoes) {
  RescueQueue queue(2);
  Blocking first;
  queue.submit(first.job("a", std::nullopt));
  ASSERT_TRUE(first.begins(kPatience));
  std::atomic<bool> waits = false;
  std::promise<void> begun;
  queue.submit({.registry = "b",
                .deadline = [&] { return waits ? std::optional(kSoon) : std::nullopt; },
                .run = [&] { begun.set_value(); }});
  auto begins = begun.get_future();
  EXPECT_EQ(begins.wait_for(kChance), std::future_status::timeout);

  waits = true;
  queue.look_again();

  EXPECT_EQ(begins.wait_for(kPatience), std::future_status::ready);
  first.end();
}

TEST(RescueQueue, LeavesThreadsToOtherRegistriesWhenOneStalls) {
  RescueQueue queue(4);
  Blocking stalled[4];
  for (auto& each : stalled) queue.submit(each.job("stalled", kSoon));
  ASSERT_TRUE(stalled[0].begins(kPatience));
  ASSERT_TRUE(stalled[1].begins(kPatience));

  for (const char* registry : {"one", "another"}) {
    Blocking well;
    queue.submit(well.job(registry, kLater));
    EXPECT_TRUE(well.begins(kPatience)) << registry;
    well.end();
  }

  EXPECT_FALSE(stalled[2].begins(kChance));
  for (auto& each : stalled) each.end();
  EXPECT_TRUE(stalled[2].begins(kPatience));
  EXPECT_TRUE(stalled[3].begins(kPatience));
}

TEST(RescueQueue, LetsASecondRegistryHaveOnlyWhatAThirdDoesNotNeed) {
  RescueQueue queue(4);
  Blocking jobs[5];
  queue.submit(jobs[0].job("a", kSoon));
  queue.submit(jobs[1].job("a", kSoon));
  queue.submit(jobs[2].job("b", kSoon));
  for (int i = 0; i < 3; ++i) ASSERT_TRUE(jobs[i].begins(kPatience));

  queue.submit(jobs[3].job("b", kSoon));
  queue.submit(jobs[4].job("c", kLater));

  EXPECT_TRUE(jobs[4].begins(kPatience));
  EXPECT_FALSE(jobs[3].begins(kChance));
  for (auto& each : jobs) each.end();
  EXPECT_TRUE(jobs[3].begins(kPatience));
}

TEST(RescueQueue, BeginsNothingAtItsEnd) {
  Blocking running;
  auto queue = std::make_unique<RescueQueue>(1);
  queue->submit(running.job("a", kSoon));
  ASSERT_TRUE(running.begins(kPatience));
  queue->submit(at_once("a", kSoon, [] { ADD_FAILURE() << "it is too late"; }));

  auto ended = std::async(std::launch::async, [&] { queue.reset(); });
  EXPECT_EQ(ended.wait_for(kChance), std::future_status::timeout);
  running.end();

  ended.get();
}

}  // namespace
}  // namespace runnel::cache
