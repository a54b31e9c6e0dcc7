#include "meta/sqlite_operations.h"

#include <gtest/gtest.h>

#include <set>

#include "meta/sqlite_store.h"
#include "support/memory_operation_queue.h"
#include "support/operation_queue_conformance.h"
#include "support/temp_dir.h"

namespace runnel::meta {
namespace {

class SqliteOperationsFixture final : public test::OperationQueueFixture {
 public:
  SqliteOperationsFixture() { reopen(); }
  OperationQueue& queue() override { return *queue_; }
  std::unique_ptr<OperationQueue> second() override { return open(); }
  test::FakeClock& clock() override { return clock_; }
  void reopen() override {
    queue_.reset();
    queue_ = open();
  }

 private:
  std::unique_ptr<SqliteOperations> open() {
    return SqliteOperations::open(directory_.path() + "/metadata.sqlite", clock_,
                                  [this] { return std::to_string(++last_id_); })
        .value();
  }

  test::TempDir directory_;
  test::FakeClock clock_;
  int last_id_ = 0;
  std::unique_ptr<SqliteOperations> queue_;
};

class MemoryOperationsFixture final : public test::OperationQueueFixture {
 public:
  OperationQueue& queue() override { return *queue_; }
  std::unique_ptr<OperationQueue> second() override { return open(); }
  test::FakeClock& clock() override { return clock_; }
  void reopen() override { queue_ = open(); }

 private:
  std::unique_ptr<OperationQueue> open() {
    return std::make_unique<test::MemoryOperationQueue>(
        data_, clock_, [this] { return std::to_string(++last_id_); });
  }

  test::FakeClock clock_;
  int last_id_ = 0;
  const std::shared_ptr<test::MemoryOperationQueue::Data> data_ =
      std::make_shared<test::MemoryOperationQueue::Data>();
  std::unique_ptr<OperationQueue> queue_ = open();
};

INSTANTIATE_TEST_SUITE_P(Sqlite, OperationQueueConformance,
                         testing::Values([]() -> std::unique_ptr<test::OperationQueueFixture> {
                           return std::make_unique<SqliteOperationsFixture>();
                         }));
INSTANTIATE_TEST_SUITE_P(Memory, OperationQueueConformance,
                         testing::Values([]() -> std::unique_ptr<test::OperationQueueFixture> {
                           return std::make_unique<MemoryOperationsFixture>();
                         }));

TEST(SqliteOperationsFile, IsTheMetadatasOwn) {
  const test::TempDir directory;
  const test::FakeClock clock;
  const auto path = directory.path() + "/metadata.sqlite";
  const auto store = SqliteStore::open(path, clock).value();
  const auto queue = SqliteOperations::open(path, clock).value();
  ASSERT_TRUE(queue->enqueue({.repository = "a", .digest = oci::Digest::of(as_bytes("x"))}));
  ASSERT_TRUE(store->link_blob("a", oci::Digest::of(as_bytes("x")), 1));

  EXPECT_EQ(SqliteOperations::open(path, clock).value()->operations({}, 100, 10)->size(), 1u);
}

// A damaged database costs an answer, not the process.
TEST(SqliteOperationsFile, SaysThatItIsDamaged) {
  const test::TempDir directory;
  const test::FakeClock clock;
  const auto path = directory.path() + "/metadata.sqlite";
  const auto queue = SqliteOperations::open(path, clock).value();
  const NewOperation wanted{.repository = "a", .digest = oci::Digest::of(as_bytes("x"))};
  const auto connection = Connection::open(path, Connection::Durability::kEveryCommit).value();
  const auto code = [](const auto& answer) {
    return answer ? Code::kInvalid : answer.error().code;
  };

  ASSERT_TRUE(
      connection->script("CREATE TRIGGER loses AFTER INSERT ON operations "
                         "BEGIN DELETE FROM operations; END"));
  EXPECT_EQ(code(queue->enqueue(wanted)), Code::kUnavailable);
  ASSERT_TRUE(connection->script("DROP TRIGGER loses"));

  ASSERT_TRUE(queue->enqueue(wanted));
  ASSERT_TRUE(connection->script("UPDATE operations SET digest = 'sha256:0'"));
  EXPECT_EQ(code(queue->claim("owner", std::chrono::seconds(1))), Code::kUnavailable);
  EXPECT_EQ(code(queue->operations({}, 100, 10)), Code::kUnavailable);
}

TEST(OperationIds, AreUuidsThatDiffer) {
  std::set<std::string> ids;
  for (int i = 0; i < 100; ++i) {
    const auto id = random_operation_id();
    ASSERT_EQ(id.size(), 36u);
    EXPECT_EQ(id[14], '4');
    EXPECT_EQ(id[8], '-');
    EXPECT_NE(std::string("89ab").find(id[19]), std::string::npos);
    ids.insert(id);
  }
  EXPECT_EQ(ids.size(), 100u);
}

}  // namespace
}  // namespace runnel::meta
