#include "snapshot/service.h"

#include <grpcpp/grpcpp.h>
#include <gtest/gtest.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include <filesystem>
#include <future>

#include "base/durable.h"
#include "base/fd.h"
#include "snapshots.grpc.pb.h"
#include "support/temp_dir.h"

namespace runnel::snapshot {
namespace {

namespace api = containerd::services::snapshots::v1;
namespace fs = std::filesystem;
using grpc::StatusCode;

class HasNothing : public Streaming {
 public:
  Result<std::string> mount(const std::string& chain_id) override {
    return fail(Code::kNotFound, "no {}", chain_id);
  }
  void idle(const std::string&) override {}
  void forget(const std::string&) override {}
  Result<Usage> usage(const std::string&) override { return Usage{}; }
};

// Offers nothing, but only once it is released.
class SlowStreaming final : public HasNothing {
 public:
  Result<bool> offer(const std::string&, const std::string&, const Labels&) override {
    asked.set_value();
    released.get_future().wait();
    return false;
  }
  std::promise<void> asked;
  std::promise<void> released;
};

// As one whose registry has stalled: it has no answer before it stops.
class StalledStreaming final : public HasNothing {
 public:
  Result<bool> offer(const std::string&, const std::string&, const Labels&) override {
    asked.set_value();
    stopped.get_future().wait();
    return fail(Code::kCancelled, "the node stops");
  }
  void begin_stop() override { stopped.set_value(); }
  std::promise<void> asked;
  std::promise<void> stopped;
};

class ServiceTest : public testing::Test {
 protected:
  void SetUp() override {
    store_ = Store::open(dir_.path() + "/snapshots.db", clock_).value();
    serve();
  }

  void serve() {
    service_.reset();
    snapshotter_ = Snapshotter::open(dir_.path(), *store_, streaming_).value();
    service_ = Service::listen(socket(), *snapshotter_).value();
    stub_ = api::Snapshots::NewStub(
        grpc::CreateChannel("unix:" + socket(), grpc::InsecureChannelCredentials()));
  }

  std::string socket() const { return dir_.path() + "/run/snapshotter.sock"; }

  grpc::Status prepare(const std::string& key, const std::string& parent, Labels labels = {},
                       api::PrepareSnapshotResponse* response = nullptr) {
    api::PrepareSnapshotRequest request;
    request.set_snapshotter("runnel");
    request.set_key(key);
    request.set_parent(parent);
    request.mutable_labels()->insert(labels.begin(), labels.end());
    api::PrepareSnapshotResponse ignored;
    grpc::ClientContext context;
    return stub_->Prepare(&context, request, response != nullptr ? response : &ignored);
  }
  grpc::Status commit(const std::string& key, const std::string& name) {
    api::CommitSnapshotRequest request;
    request.set_key(key);
    request.set_name(name);
    google::protobuf::Empty response;
    grpc::ClientContext context;
    return stub_->Commit(&context, request, &response);
  }
  std::vector<api::Info> list(const std::vector<std::string>& filters, grpc::Status* status) {
    api::ListSnapshotsRequest request;
    for (const auto& filter : filters) request.add_filters(filter);
    grpc::ClientContext context;
    const auto reader = stub_->List(&context, request);
    std::vector<api::Info> infos;
    for (api::ListSnapshotsResponse message; reader->Read(&message);) {
      infos.insert(infos.end(), message.info().begin(), message.info().end());
    }
    *status = reader->Finish();
    return infos;
  }

  test::TempDir dir_;
  SystemClock clock_;
  SlowStreaming streaming_;
  std::unique_ptr<Store> store_;
  std::unique_ptr<Snapshotter> snapshotter_;
  std::unique_ptr<Service> service_;
  std::unique_ptr<api::Snapshots::Stub> stub_;
};

TEST_F(ServiceTest, CarriesMountsAsContainerdReadsThem) {
  api::PrepareSnapshotResponse response;

  ASSERT_TRUE(prepare("a", "", {{"l", "v"}}, &response).ok());

  ASSERT_EQ(response.mounts_size(), 1);
  EXPECT_EQ(response.mounts(0).type(), "bind");
  EXPECT_TRUE(fs::is_directory(response.mounts(0).source()));
  ASSERT_EQ(response.mounts(0).options_size(), 2);
  EXPECT_EQ(response.mounts(0).options(0), "rw");
}

TEST_F(ServiceTest, CarriesEveryFieldOfAnInfo) {
  const auto before = clock_.wall();
  ASSERT_TRUE(prepare("a", "").ok());
  ASSERT_TRUE(commit("a", "A").ok());
  ASSERT_TRUE(prepare("b", "A", {{"l", "v"}}).ok());

  api::StatSnapshotRequest request;
  request.set_key("b");
  api::StatSnapshotResponse response;
  grpc::ClientContext context;
  ASSERT_TRUE(stub_->Stat(&context, request, &response).ok());

  EXPECT_EQ(response.info().name(), "b");
  EXPECT_EQ(response.info().parent(), "A");
  EXPECT_EQ(response.info().kind(), api::ACTIVE);
  EXPECT_EQ(response.info().labels().at("l"), "v");
  const auto& created = response.info().created_at();
  EXPECT_GE(created.seconds() * 1'000'000'000 + created.nanos(), before.time_since_epoch().count());
}

TEST_F(ServiceTest, TellsErrorsByTheCodesThatContainerdKnows) {
  ASSERT_TRUE(prepare("a", "").ok());
  ASSERT_TRUE(commit("a", "A").ok());
  ASSERT_TRUE(prepare("b", "A").ok());

  EXPECT_EQ(prepare("c", "absent").error_code(), StatusCode::NOT_FOUND);
  EXPECT_EQ(prepare("b", "A").error_code(), StatusCode::ALREADY_EXISTS);
  EXPECT_EQ(prepare("c", "b").error_code(), StatusCode::INVALID_ARGUMENT);
  EXPECT_EQ(commit("A", "B").error_code(), StatusCode::FAILED_PRECONDITION);
  grpc::Status status;
  list({"size==1"}, &status);
  EXPECT_EQ(status.error_code(), StatusCode::INVALID_ARGUMENT);
  EXPECT_NE(status.error_message().find("no field"), std::string::npos);
}

TEST_F(ServiceTest, TellsContainerdWhyItDoesNotVouchForACommit) {
  ASSERT_TRUE(prepare("a", "").ok());

  serve();

  const auto committed = commit("a", "A");
  EXPECT_EQ(committed.error_code(), StatusCode::UNAVAILABLE);
  EXPECT_NE(committed.error_message().find("remove it and begin anew"), std::string::npos);
}

TEST_F(ServiceTest, ListsManyInSeveralMessagesInOrder) {
  for (int i = 0; i < 250; ++i) {
    ASSERT_TRUE(
        store_->create(store_->next_number(), Kind::kActive, fmt::format("a{}", i), "", {}));
  }

  grpc::Status status;
  const auto infos = list({"kind==active"}, &status);

  ASSERT_TRUE(status.ok());
  ASSERT_EQ(infos.size(), 250u);
  EXPECT_EQ(infos.front().name(), "a0");
  EXPECT_EQ(infos.back().name(), "a249");
}

TEST_F(ServiceTest, UpdatesThroughAFieldMask) {
  ASSERT_TRUE(prepare("a", "", {{"keep", "1"}, {"drop", "1"}}).ok());
  api::UpdateSnapshotRequest request;
  request.mutable_info()->set_name("a");
  request.mutable_update_mask()->add_paths("labels.drop");
  api::UpdateSnapshotResponse response;
  grpc::ClientContext context;

  ASSERT_TRUE(stub_->Update(&context, request, &response).ok());

  EXPECT_EQ(response.info().labels_size(), 1);
  EXPECT_EQ(response.info().labels().at("keep"), "1");
}

TEST_F(ServiceTest, AnswersOthersWhileOneCallIsSlow) {
  auto slow = std::async(std::launch::async,
                         [&] { return prepare("slow", "", {{kTargetLabel, "sha256:one"}}); });
  streaming_.asked.get_future().wait();

  EXPECT_TRUE(prepare("quick", "").ok());
  EXPECT_TRUE(commit("quick", "Q").ok());

  streaming_.released.set_value();
  EXPECT_TRUE(slow.get().ok());
}

TEST_F(ServiceTest, KeepsItsSocketToItselfAndRemovesItAtTheEnd) {
  struct stat info;
  ASSERT_EQ(::stat(socket().c_str(), &info), 0);
  EXPECT_TRUE(S_ISSOCK(info.st_mode));
  EXPECT_EQ(info.st_mode & 07777, 0600u);
  EXPECT_EQ(std::distance(fs::directory_iterator(dir_.path() + "/run"), {}), 1);

  service_.reset();

  EXPECT_TRUE(fs::is_empty(dir_.path() + "/run"));
}

TEST_F(ServiceTest, RefusesALiveSocketAndAFileThatIsNone) {
  ASSERT_TRUE(replace_file(dir_.path() + "/file", as_bytes("mine")));

  const auto live = Service::listen(socket(), *snapshotter_);
  const auto file = Service::listen(dir_.path() + "/file", *snapshotter_);
  const auto longer = Service::listen(dir_.path() + "/" + std::string(200, 'x'), *snapshotter_);

  EXPECT_EQ(live.error().code, Code::kConflict);
  EXPECT_EQ(file.error().code, Code::kConflict);
  EXPECT_EQ(longer.error().code, Code::kInvalid);
  EXPECT_TRUE(fs::is_regular_file(dir_.path() + "/file"));
  EXPECT_TRUE(prepare("still-served", "").ok());
}

TEST_F(ServiceTest, ReplacesASocketThatNobodyListensOn) {
  const auto stale = dir_.path() + "/stale.sock";
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  stale.copy(address.sun_path, sizeof address.sun_path - 1);
  {
    const UniqueFd fd(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
    ASSERT_EQ(::bind(fd.get(), reinterpret_cast<const sockaddr*>(&address), sizeof address), 0);
  }

  const auto service = Service::listen(stale, *snapshotter_);

  ASSERT_TRUE(service) << service.error().message;
  const UniqueFd fd(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
  EXPECT_EQ(::connect(fd.get(), reinterpret_cast<const sockaddr*>(&address), sizeof address), 0);
}

// On a socket that outlives services, as the holder opens it.
class HeldSocketTest : public testing::Test {
 protected:
  UniqueFd open_listener() const {
    sockaddr_un address{};
    address.sun_family = AF_UNIX;
    socket_.copy(address.sun_path, sizeof address.sun_path - 1);
    UniqueFd fd(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
    EXPECT_EQ(::bind(fd.get(), reinterpret_cast<const sockaddr*>(&address), sizeof address), 0);
    EXPECT_EQ(::listen(fd.get(), 8), 0);
    return fd;
  }
  // Once the client's handshake is done, and the call is on its way.
  std::future<grpc::Status> call(const Labels& labels = {}) {
    const auto channel = grpc::CreateChannel("unix:" + socket_, grpc::InsecureChannelCredentials());
    EXPECT_TRUE(
        channel->WaitForConnected(std::chrono::system_clock::now() + std::chrono::seconds(20)));
    return std::async(std::launch::async, [stub = api::Snapshots::NewStub(channel), labels] {
      grpc::ClientContext context;
      api::PrepareSnapshotRequest request;
      request.set_key("a");
      request.mutable_labels()->insert(labels.begin(), labels.end());
      api::PrepareSnapshotResponse response;
      return stub->Prepare(&context, request, &response);
    });
  }

  const SystemClock clock_;
  const test::TempDir dir_;
  const std::string socket_ = dir_.path() + "/snapshotter.sock";
};

TEST_F(HeldSocketTest, GreetsBeforeItHasASnapshotterAndAnswersThen) {
  SlowStreaming streaming;
  const auto store = Store::open(dir_.path() + "/snapshots.db", clock_).value();
  const auto snapshotter = Snapshotter::open(dir_.path(), *store, streaming).value();
  const auto service = Service::serve(open_listener()).value();

  auto answer = call();
  EXPECT_NE(answer.wait_for(std::chrono::milliseconds(50)), std::future_status::ready);
  service->attach(*snapshotter);

  const auto status = answer.get();
  EXPECT_TRUE(status.ok()) << status.error_message();
  service->stop();
}

TEST_F(HeldSocketTest, EndsAtOnceAlthoughAPullWaitsForAVerdict) {
  StalledStreaming streaming;
  const auto store = Store::open(dir_.path() + "/snapshots.db", clock_).value();
  const auto snapshotter = Snapshotter::open(dir_.path(), *store, streaming).value();
  const auto service = Service::serve(open_listener()).value();
  service->attach(*snapshotter);
  auto answer = call({{kTargetLabel, "sha256:one"}});
  streaming.asked.get_future().wait();

  auto stopping = std::async(std::launch::async, [&] { service->stop(); });

  EXPECT_EQ(stopping.wait_for(std::chrono::seconds(4)), std::future_status::ready)
      << "before it cancels what its clients wait for";
  EXPECT_EQ(answer.get().error_code(), StatusCode::UNAVAILABLE) << "and no snapshot is made";
  EXPECT_TRUE(store->list()->empty());
  if (stopping.wait_for(std::chrono::seconds(0)) != std::future_status::ready)
    streaming.stopped.set_value();  // or it would never end
}

TEST_F(HeldSocketTest, TellsWhoWaitsForASnapshotterWhenItEndsWithoutOne) {
  const auto service = Service::serve(open_listener()).value();

  auto answer = call();
  EXPECT_NE(answer.wait_for(std::chrono::milliseconds(50)), std::future_status::ready);
  service->stop();

  EXPECT_EQ(answer.get().error_code(), StatusCode::UNAVAILABLE);
}

}  // namespace
}  // namespace runnel::snapshot
