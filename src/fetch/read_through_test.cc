#include "fetch/read_through.h"

#include <gtest/gtest.h>

#include "support/fake_range_source.h"

namespace runnel::fetch {
namespace {

Buffer numbers(size_t size) {
  Buffer bytes(size);
  for (size_t i = 0; i < size; ++i) bytes[i] = static_cast<std::byte>(i * 7 + i / 251);
  return bytes;
}

class ReadThroughTest : public testing::Test {
 protected:
  Result<void> read(ReadThrough options = {.piece = 1000, .ahead = 3}) {
    return read_through(source_, clock_, options, [&](Bytes bytes) -> Result<void> {
      got_.insert(got_.end(), bytes.begin(), bytes.end());
      return after_;
    });
  }

  const Buffer bytes_ = numbers(10'500);
  test::FakeRangeSource source_{bytes_};
  SystemClock clock_;
  Buffer got_;
  Result<void> after_;
};

TEST_F(ReadThroughTest, GivesEveryByteInOrder) {
  ASSERT_TRUE(read());

  EXPECT_EQ(got_, bytes_);
  EXPECT_EQ(source_.reads().size(), 11u);
  EXPECT_EQ(source_.reads().back().length, 500u);
}

TEST_F(ReadThroughTest, BeginsAndEndsWhereItIsTold) {
  ASSERT_TRUE(read({.from = 10'000, .piece = 1000}));
  EXPECT_EQ(got_, Buffer(bytes_.begin() + 10'000, bytes_.end()));

  got_.clear();
  ASSERT_TRUE(read({.from = 100, .to = 5555, .piece = 1000}));
  EXPECT_EQ(got_, Buffer(bytes_.begin() + 100, bytes_.begin() + 5555));
}

TEST_F(ReadThroughTest, HasNoMoreUnderWayThanItMay) {
  source_.hold();
  std::thread reader([&] { EXPECT_TRUE(read()); });
  source_.wait_for_waiting(3);
  EXPECT_EQ(source_.reads().size(), 3u);

  source_.release();
  reader.join();

  EXPECT_EQ(got_, bytes_);
}

TEST_F(ReadThroughTest, EndsWithTheFirstErrorAndNothingUnderWay) {
  source_.delay(Duration::zero(), 4);
  source_.fail(Error(Code::kNotFound, "gone"));

  const auto done = read();

  ASSERT_FALSE(done);
  EXPECT_EQ(done.error(), Error(Code::kNotFound, "gone"));
  EXPECT_EQ(got_, Buffer(bytes_.begin(), bytes_.begin() + 4000));
  source_.wait_for_waiting(0);
}

TEST_F(ReadThroughTest, EndsWithTheConsumersError) {
  after_ = fail(Code::kCancelled, "enough");

  const auto done = read();

  ASSERT_FALSE(done);
  EXPECT_EQ(done.error().message, "enough");
  EXPECT_EQ(got_.size(), 1000u);
}

TEST_F(ReadThroughTest, EndsWhenTheSourceIsShutDown) {
  source_.hold();
  std::thread reader([&] {
    const auto done = read();
    ASSERT_FALSE(done);
    EXPECT_EQ(done.error().code, Code::kCancelled);
  });
  source_.wait_for_waiting(3);

  source_.shutdown();

  reader.join();
}

}  // namespace
}  // namespace runnel::fetch
