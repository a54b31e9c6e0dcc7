#include "engine/fuse_server.h"

#include <gtest/gtest.h>

#include <future>

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
    server.start(1, alive, [](const FuseRequest&, MutableBytes) {}, {});
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

}  // namespace
}  // namespace runnel::engine
