#include "engine/fuse_server.h"

#include <gtest/gtest.h>

#include <future>
#include <latch>
#include <optional>
#include <semaphore>
#include <thread>

#include "support/fuse_kernel.h"

namespace runnel::engine {
namespace {

using std::chrono::milliseconds;

class FuseServerTest : public testing::Test {
 protected:
  // From the start of a server until its first sign of life, when what was overdue has its answer.
  Duration first_sign_after() {
    connection_->keep({.unique = kernel_.next_unique()},
                      {.deadline = clock_.now(), .retry = {}, .range = {}});
    FuseServer server(connection_, clock_);
    std::promise<bool> answered;
    bool first = true;
    const auto alive = [&] {
      if (std::exchange(first, false)) answered.set_value(kernel_.answer().has_value());
    };
    const auto begin = clock_.now();
    EXPECT_TRUE(server.start(1, alive, [](const FuseRequest&, MutableBytes) {}, {}));
    EXPECT_TRUE(answered.get_future().get());
    return clock_.now() - begin;
  }

  SystemClock clock_;
  test::FuseKernel kernel_{std::chrono::seconds(60), clock_};
  const std::shared_ptr<FuseConnection> connection_ = kernel_.connection;
};

// Else workers that die young, one after the other, would leave all reads to the holder.
TEST_F(FuseServerTest, EndsWhatIsOverdueAndShowsASignOfLifeLongBeforeItsFirstTenthOfASecond) {
  Duration least = Duration::max();
  for (int i = 0; i < 10; ++i) least = std::min(least, first_sign_after());
  EXPECT_LT(least, milliseconds(90));
}

// A test ends its server before the variables that its threads use.
class FuseServerThreads : public testing::Test {
 protected:
  // Serves with so many threads: each request submits `task`, which is told who took it.
  void serve(size_t threads, std::function<void(std::thread::id)> task) {
    server_.emplace(connection_, clock_);
    const auto handle = [this, task = std::move(task)](const FuseRequest& request, MutableBytes) {
      connection_->dismiss(request.ticket);
      server_->submit([task, taker = std::this_thread::get_id()] { task(taker); });
    };
    ASSERT_TRUE(server_->start(threads, [] {}, handle, {}));
  }

  SystemClock clock_;
  test::FuseKernel kernel_{std::chrono::seconds(60), clock_};
  const std::shared_ptr<FuseConnection> connection_ = kernel_.connection;
  std::optional<FuseServer> server_;
};

TEST_F(FuseServerThreads, DoWhatMayWaitThemselvesWhileAnotherIsLeftToTakeRequests) {
  std::promise<bool> same;
  serve(2, [&](auto taker) { same.set_value(taker == std::this_thread::get_id()); });
  kernel_.send_read(1);
  EXPECT_TRUE(same.get_future().get());
  server_.reset();
}

TEST_F(FuseServerThreads, LeaveWhatMayWaitToThePoolWhenNobodyElseTakesRequests) {
  std::promise<bool> same;
  serve(1, [&](auto taker) { same.set_value(taker == std::this_thread::get_id()); });
  kernel_.send_read(1);
  EXPECT_FALSE(same.get_future().get());
  server_.reset();
}

// As on a disk that stands still: deadlines are kept for what was taken only.
TEST_F(FuseServerThreads, TakeRequestsHoweverManyWait) {
  constexpr int kRequests = 20;
  std::latch taken(kRequests);
  std::promise<void> disk_goes_on;
  const auto disk = disk_goes_on.get_future().share();
  server_.emplace(connection_, clock_);
  const auto handle = [&](const FuseRequest& request, MutableBytes) {
    connection_->dismiss(request.ticket);
    taken.count_down();
    server_->submit([disk] { disk.wait(); });
  };
  ASSERT_TRUE(server_->start(2, [] {}, handle, {}));

  for (int i = 0; i < kRequests; ++i) kernel_.send_read(1);
  taken.wait();
  disk_goes_on.set_value();
  server_.reset();
}

// How often depends on who is awake, so it is tried until it happens.
TEST_F(FuseServerThreads, DoWhatMayWaitAgainAndAgain) {
  constexpr int kMost = 10'000;
  std::binary_semaphore done(0);
  int by_takers = 0;
  serve(2, [&](auto taker) {
    if (taker == std::this_thread::get_id()) ++by_takers;
    done.release();
  });
  for (int i = 0; i < kMost && by_takers < 3; ++i) {
    kernel_.send_read(1);
    done.acquire();
  }
  server_.reset();
  EXPECT_EQ(by_takers, 3);
}

}  // namespace
}  // namespace runnel::engine
