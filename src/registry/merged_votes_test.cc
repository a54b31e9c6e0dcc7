#include "registry/merged_votes.h"

#include <gtest/gtest.h>

#include <boost/asio/co_spawn.hpp>
#include <boost/asio/io_context.hpp>
#include <latch>
#include <new>

#include "support/memory_metadata_store.h"
#include "support/run_coroutine.h"

namespace runnel::registry {
namespace {

using Found = std::expected<std::shared_ptr<const Voted>, Refusal>;

class MergedVotesTest : public testing::Test {
 protected:
  void cast(const std::string& node, uint32_t chunk) {
    const artifact::Profile start{
        .image = "i", .layers = {oci::Digest::of(as_bytes("layer"))}, .chunks = {{0, chunk}}};
    ASSERT_TRUE(cast_vote(store_, "team/app", image_, {"", node}, start));
  }
  std::shared_ptr<const Voted> find() {
    return test::run_coroutine(merged_.find("team/app", image_)).value();
  }

  const SystemClock clock_;
  const std::shared_ptr<test::MemoryMetadataStore::Data> data_ =
      test::MemoryMetadataStore::new_data();
  const oci::Digest image_ = oci::Digest::of(as_bytes("image"));
  std::function<void()> before_call_ = [] {};
  test::MemoryMetadataStore store_{data_, clock_, [this] { before_call_(); }};
  MergedVotes merged_{store_};
};

TEST_F(MergedVotesTest, AreMergedOnceUntilSomebodyVotes) {
  EXPECT_EQ(find()->votes, 0u);
  cast("one", 1);
  const auto first = find();
  EXPECT_EQ(first->votes, 1u);
  EXPECT_EQ(find(), first) << "the same votes were merged again";

  cast("one", 2);
  EXPECT_NE(find(), first);
  EXPECT_EQ(find()->profile.chunks.front().chunk, 2u);
  cast("two", 3);
  EXPECT_EQ(find()->votes, 2u);
}

TEST_F(MergedVotesTest, OfOtherImagesAreOthers) {
  cast("one", 1);
  ASSERT_EQ(find()->votes, 1u);

  EXPECT_EQ(test::run_coroutine(merged_.find("team/app2", image_)).value()->votes, 0u);
  EXPECT_EQ(find()->votes, 1u);
}

TEST_F(MergedVotesTest, AreWaitedForByFew) {
  std::latch go_on(1);
  before_call_ = [&] { go_on.wait(); };
  boost::asio::io_context loop;
  size_t found = 0;
  const auto count = [&](const std::exception_ptr&, const Found& each) { found += each ? 1 : 0; };
  for (size_t i = 0; i < MergedVotes::kMostWaiting; ++i)
    boost::asio::co_spawn(loop, merged_.find("team/app", image_), count);
  loop.poll();

  const auto refused = test::run_coroutine(merged_.find("team/app", image_));

  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().status, 503);
  EXPECT_TRUE(refused.error().headers.first("Retry-After"));
  go_on.count_down();
  loop.run();
  EXPECT_EQ(found, MergedVotes::kMostWaiting);
  EXPECT_TRUE(test::run_coroutine(merged_.find("team/app", image_)));
}

TEST_F(MergedVotesTest, AreFoundAgainAfterAllThatCouldNotBe) {
  before_call_ = [] { throw std::bad_alloc(); };
  for (size_t i = 0; i < 2 * MergedVotes::kMostWaiting; ++i)
    EXPECT_THROW(test::run_coroutine(merged_.find("team/app", image_)), std::bad_alloc);
  before_call_ = [] {};

  EXPECT_TRUE(test::run_coroutine(merged_.find("team/app", image_)));
}

}  // namespace
}  // namespace runnel::registry
