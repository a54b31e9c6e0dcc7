#include "registry/conversions.h"

#include <gtest/gtest.h>

#include <functional>
#include <future>

#include "support/memory_blob_store.h"
#include "support/memory_metadata_store.h"
#include "support/memory_operation_queue.h"

namespace runnel::registry {
namespace {

using meta::Claim;
using meta::Operation;

// A queue whose database does not answer the first times that an operation is to be ended.
class BusyQueue final : public meta::OperationQueue {
 public:
  BusyQueue(
      meta::OperationQueue& queue, int refusals, std::function<void()> before_end = [] {})
      : queue_(queue), refusals_(refusals), before_end_(std::move(before_end)) {}

  Result<meta::Enqueued> enqueue(const meta::NewOperation& wanted) override {
    return queue_.enqueue(wanted);
  }
  Result<std::optional<Operation>> operation(std::string_view id) override {
    return queue_.operation(id);
  }
  Result<std::optional<Operation>> last_operation(std::string_view repository,
                                                  const oci::Digest& digest) override {
    return queue_.last_operation(repository, digest);
  }
  Result<std::vector<Operation>> operations(const meta::OperationFilter& filter, int64_t before,
                                            size_t limit) override {
    return queue_.operations(filter, before, limit);
  }
  Result<std::optional<Operation>> claim(std::string_view owner, Duration lifetime) override {
    return queue_.claim(owner, lifetime);
  }
  Result<bool> report(const Claim& claim, unsigned percent, Duration lifetime) override {
    return queue_.report(claim, percent, lifetime);
  }
  Result<bool> begin_publishing(const Claim& claim, Duration lifetime) override {
    return queue_.begin_publishing(claim, lifetime);
  }
  Result<bool> finish(const Claim& claim, const meta::OperationEnd& end) override {
    if (refusals_-- > 0) return fail(Code::kUnavailable, "database is locked");
    before_end_();
    auto finished = queue_.finish(claim, end);
    finished_.set_value();
    return finished;
  }
  Result<bool> release(const Claim& claim) override { return queue_.release(claim); }
  Result<meta::CancelOutcome> cancel(std::string_view id) override { return queue_.cancel(id); }
  Result<size_t> forget_operations(WallTime before, size_t limit) override {
    return queue_.forget_operations(before, limit);
  }

  // Whether one was ended within the time.
  bool wait(Duration time) {
    return finished_.get_future().wait_for(time) == std::future_status::ready;
  }

 private:
  meta::OperationQueue& queue_;
  int refusals_;  // of the one runner
  const std::function<void()> before_end_;
  std::promise<void> finished_;
};

class ConversionsTest : public testing::Test {
 protected:
  // Nothing that could be converted has this digest, so it fails at once.
  static meta::NewOperation of(const oci::Digest& digest) {
    return {.repository = "team/app",
            .digest = digest,
            .priority = meta::OperationPriority::kPerson,
            .principal = {}};
  }

  const SystemClock clock_;
  const Config config_;
  test::MemoryBlobStore blobs_;
  test::MemoryMetadataStore metadata_{test::MemoryMetadataStore::new_data(), clock_};
  Uploads uploads_{blobs_, metadata_, clock_, std::chrono::hours(1)};
  const artifact::Key key_ = artifact::Key::generate();
  const ConversionTools tools_{config_, blobs_, metadata_, uploads_, key_, {}};
  test::MemoryOperationQueue queue_{std::make_shared<test::MemoryOperationQueue::Data>(), clock_};
};

// Long before the claim of 15 seconds is over, with which it would begin again.
TEST_F(ConversionsTest, EndWhatTheyDidWhenTheDatabaseAnswersAgain) {
  BusyQueue busy(queue_, 2);
  Conversions conversions(tools_, busy, clock_, nullptr);

  const auto asked = conversions.request(of(oci::Digest::of(as_bytes("absent"))));
  ASSERT_TRUE(asked);

  ASSERT_TRUE(busy.wait(std::chrono::seconds(10)));
  const auto ended = queue_.operation(asked->operation.id).value();
  ASSERT_TRUE(ended);
  EXPECT_EQ(ended->status, meta::OperationStatus::kFailed);
  EXPECT_EQ(ended->attempts, 1u);
}

// Its request joins the conversion that is just ending, so no other one lets its tag go.
TEST_F(ConversionsTest, LetATagGoThatIsPushedAsTheyEnd) {
  const auto digest = oci::Digest::of(as_bytes("manifest"));
  const auto push = [&] {
    meta::NewManifest manifest;
    manifest.digest = digest;
    manifest.bytes = as_bytes("manifest");
    manifest.tags = {"late"};
    hold_tags(manifest, "team/app", clock_.wall(), std::chrono::hours(1));
    EXPECT_TRUE(metadata_.put_manifest("team/app", manifest));
    EXPECT_TRUE(queue_.enqueue(of(digest))->joined);
  };
  BusyQueue busy(queue_, 0, push);
  {
    Conversions conversions(tools_, busy, clock_, nullptr);
    ASSERT_TRUE(conversions.request(of(digest)));
    ASSERT_TRUE(busy.wait(std::chrono::seconds(10)));
  }

  const auto tag = metadata_.manifest_info("team/app", "late").value();
  ASSERT_TRUE(tag) << "it would have waited for its whole time";
  EXPECT_EQ(tag->digest, digest);
}

}  // namespace
}  // namespace runnel::registry
