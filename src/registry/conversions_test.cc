#include "registry/conversions.h"

#include <gtest/gtest.h>

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
  BusyQueue(meta::OperationQueue& queue, int refusals) : queue_(queue), refusals_(refusals) {}

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
  std::promise<void> finished_;
};

// Long before the claim of 15 seconds is over, with which it would begin again.
TEST(Conversions, EndWhatTheyDidWhenTheDatabaseAnswersAgain) {
  const SystemClock clock;
  const Config config;
  test::MemoryBlobStore blobs;
  test::MemoryMetadataStore metadata(test::MemoryMetadataStore::new_data(), clock);
  Uploads uploads(blobs, metadata, clock, std::chrono::hours(1));
  const auto key = artifact::Key::generate();
  const ConversionTools tools{config, blobs, metadata, uploads, key, {}};
  test::MemoryOperationQueue queue(std::make_shared<test::MemoryOperationQueue::Data>(), clock);
  BusyQueue busy(queue, 2);
  Conversions conversions(tools, busy, clock, nullptr);

  // Nothing has this digest, so it fails at once.
  const auto asked = conversions.request({.repository = "team/app",
                                          .digest = oci::Digest::of(as_bytes("absent")),
                                          .priority = meta::OperationPriority::kPerson,
                                          .principal = {}});
  ASSERT_TRUE(asked);

  ASSERT_TRUE(busy.wait(std::chrono::seconds(10)));
  const auto ended = queue.operation(asked->operation.id).value();
  ASSERT_TRUE(ended);
  EXPECT_EQ(ended->status, meta::OperationStatus::kFailed);
  EXPECT_EQ(ended->attempts, 1u);
}

}  // namespace
}  // namespace runnel::registry
