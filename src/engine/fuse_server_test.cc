#include "engine/fuse_server.h"

#include <gtest/gtest.h>
#include <sys/socket.h>

#include <future>

namespace runnel::engine {
namespace {

using std::chrono::milliseconds;

class FuseServerTest : public testing::Test {
 protected:
  FuseServerTest() {
    int ends[2];
    EXPECT_EQ(::socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, ends), 0);
    kernel_ = UniqueFd(ends[0]);
    connection_ = FuseConnection::open(
                      {.fuse = UniqueFd(ends[1]), .slots = RequestSlots::create_file().value()},
                      std::chrono::seconds(60), clock_)
                      .value();
  }

  // From the start of a server until its first sign of life, when what was overdue has its answer.
  Duration first_sign_after() {
    connection_->keep({.unique = next_ += 2}, {.deadline = clock_.now(), .retry = {}, .range = {}});
    FuseServer server(connection_, clock_);
    std::promise<bool> answered;
    bool first = true;
    const auto alive = [&] {
      fuse_out_header header;
      if (std::exchange(first, false))
        answered.set_value(::recv(kernel_.get(), &header, sizeof header, 0) > 0);
    };
    const auto begin = clock_.now();
    server.start(1, alive, [](const FuseRequest&, MutableBytes) {}, {});
    EXPECT_TRUE(answered.get_future().get());
    return clock_.now() - begin;
  }

  SystemClock clock_;
  UniqueFd kernel_;
  std::shared_ptr<FuseConnection> connection_;
  uint64_t next_ = 100;
};

// Else workers that die young, one after the other, would leave all reads to the holder.
TEST_F(FuseServerTest, EndsWhatIsOverdueAndShowsASignOfLifeLongBeforeItsFirstTenthOfASecond) {
  Duration least = Duration::max();
  for (int i = 0; i < 10; ++i) least = std::min(least, first_sign_after());
  EXPECT_LT(least, milliseconds(90));
}

}  // namespace
}  // namespace runnel::engine
