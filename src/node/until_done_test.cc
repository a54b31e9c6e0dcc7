#include "node/until_done.h"

#include <gtest/gtest.h>

#include <atomic>
#include <future>

namespace runnel::node {
namespace {

using std::chrono::milliseconds;

TEST(UntilDone, TriesUntilNothingIsLeft) {
  std::promise<void> done;
  std::atomic<int> attempts = 0;
  UntilDone trying(
      [&] {
        if (++attempts < 3) return false;
        done.set_value();
        return true;
      },
      milliseconds(1));

  trying.start();

  done.get_future().wait();
  trying.stop();
  EXPECT_EQ(attempts, 3);
}

TEST(UntilDone, IsStoppedWhileItWaits) {
  UntilDone trying(
      [] {
        ADD_FAILURE() << "it is not time";
        return false;
      },
      std::chrono::hours(1));
  trying.start();

  trying.stop();
}

}  // namespace
}  // namespace runnel::node
