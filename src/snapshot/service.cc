#include "snapshot/service.h"

#include <grpcpp/grpcpp.h>
#include <grpcpp/resource_quota.h>

#include <atomic>

#include "base/log.h"
#include "base/quote.h"
#include "snapshot/acceptor.h"
#include "snapshot/attachment.h"
#include "snapshot/private_socket.h"
#include "snapshots.grpc.pb.h"

namespace runnel::snapshot {

namespace {

namespace api = containerd::services::snapshots::v1;
using google::protobuf::Empty;
using grpc::ServerContext;
using grpc::Status;
using grpc::StatusCode;

constexpr auto kStopGrace = std::chrono::seconds(5);
constexpr auto kStartLimit = std::chrono::seconds(30);
constexpr size_t kInfosPerMessage = 100;
constexpr int kMaxThreads = 256;

StatusCode status_code(Code code) {
  switch (code) {
    case Code::kInvalid: return StatusCode::INVALID_ARGUMENT;
    case Code::kNotFound: return StatusCode::NOT_FOUND;
    case Code::kExists: return StatusCode::ALREADY_EXISTS;
    case Code::kDenied: return StatusCode::PERMISSION_DENIED;
    case Code::kConflict: return StatusCode::FAILED_PRECONDITION;
    case Code::kUnsupported: return StatusCode::UNIMPLEMENTED;
    case Code::kUnavailable: return StatusCode::UNAVAILABLE;
    case Code::kExhausted: return StatusCode::RESOURCE_EXHAUSTED;
    case Code::kCancelled: return StatusCode::CANCELLED;
  }
  return StatusCode::UNKNOWN;
}

// Logged here, where the error is handled: what a client expects (not found, exists, in use) is not
// an event.
Status status_of(const Error& error, const char* call, const std::string& name) {
  const bool expected =
      error.code == Code::kNotFound || error.code == Code::kExists || error.code == Code::kConflict;
  if (!expected) log::warning("snapshot {} {}: {}", call, quote(name), error.message);
  return {status_code(error.code), error.message};
}

Labels labels_of(const google::protobuf::Map<std::string, std::string>& map) {
  return {map.begin(), map.end()};
}

template <class Mounts>
void fill(const std::vector<Mount>& mounts, Mounts* out) {
  for (const auto& mount : mounts) {
    auto* message = out->Add();
    message->set_type(mount.type);
    message->set_source(mount.source);
    for (const auto& option : mount.options) message->add_options(option);
  }
}

void fill(WallTime time, google::protobuf::Timestamp* out) {
  const auto nanoseconds = time.time_since_epoch().count();
  out->set_seconds(nanoseconds / 1'000'000'000);
  out->set_nanos(static_cast<int32_t>(nanoseconds % 1'000'000'000));
}

void fill(const Info& info, api::Info* out) {
  out->set_name(info.name);
  out->set_parent(info.parent);
  out->set_kind(static_cast<api::Kind>(info.kind));
  fill(info.created, out->mutable_created_at());
  fill(info.updated, out->mutable_updated_at());
  out->mutable_labels()->insert(info.labels.begin(), info.labels.end());
}

class Calls final : public api::Snapshots::Service {
 public:
  Calls(Attachment& attachment, CallCounts& counts) : attachment_(attachment), counts_(counts) {}

  void observe(CallObserver& observer) { observer_ = &observer; }

  Status Prepare(ServerContext*, const api::PrepareSnapshotRequest* request,
                 api::PrepareSnapshotResponse* response) override {
    return run("Prepare", request->key(), [&](Snapshotter& snapshotter) -> Result<void> {
      RUNNEL_TRY(const auto mounts, snapshotter.prepare(request->key(), request->parent(),
                                                        labels_of(request->labels())));
      fill(mounts, response->mutable_mounts());
      return {};
    });
  }

  Status View(ServerContext*, const api::ViewSnapshotRequest* request,
              api::ViewSnapshotResponse* response) override {
    return run("View", request->key(), [&](Snapshotter& snapshotter) -> Result<void> {
      RUNNEL_TRY(const auto mounts,
                 snapshotter.view(request->key(), request->parent(), labels_of(request->labels())));
      fill(mounts, response->mutable_mounts());
      return {};
    });
  }

  Status Mounts(ServerContext*, const api::MountsRequest* request,
                api::MountsResponse* response) override {
    return run("Mounts", request->key(), [&](Snapshotter& snapshotter) -> Result<void> {
      RUNNEL_TRY(const auto mounts, snapshotter.mounts(request->key()));
      fill(mounts, response->mutable_mounts());
      return {};
    });
  }

  Status Commit(ServerContext*, const api::CommitSnapshotRequest* request, Empty*) override {
    return run("Commit", request->key(), [&](Snapshotter& snapshotter) {
      return snapshotter.commit(request->key(), request->name(), labels_of(request->labels()));
    });
  }

  Status Remove(ServerContext*, const api::RemoveSnapshotRequest* request, Empty*) override {
    return run("Remove", request->key(),
               [&](Snapshotter& snapshotter) { return snapshotter.remove(request->key()); });
  }

  Status Stat(ServerContext*, const api::StatSnapshotRequest* request,
              api::StatSnapshotResponse* response) override {
    return run("Stat", request->key(), [&](Snapshotter& snapshotter) -> Result<void> {
      RUNNEL_TRY(const auto info, snapshotter.stat(request->key()));
      fill(info, response->mutable_info());
      return {};
    });
  }

  Status Update(ServerContext*, const api::UpdateSnapshotRequest* request,
                api::UpdateSnapshotResponse* response) override {
    Info wanted;
    wanted.name = request->info().name();
    wanted.labels = labels_of(request->info().labels());
    const auto& paths = request->update_mask().paths();
    return run("Update", wanted.name, [&](Snapshotter& snapshotter) -> Result<void> {
      RUNNEL_TRY(const auto info, snapshotter.update(wanted, {paths.begin(), paths.end()}));
      fill(info, response->mutable_info());
      return {};
    });
  }

  Status List(ServerContext*, const api::ListSnapshotsRequest* request,
              grpc::ServerWriter<api::ListSnapshotsResponse>* writer) override {
    const auto& filters = request->filters();
    return run("List", "", [&](Snapshotter& snapshotter) -> Result<void> {
      RUNNEL_TRY(const auto infos, snapshotter.list({filters.begin(), filters.end()}));
      if (write(infos, *writer)) return {};
      return fail(Code::kCancelled, "the client has gone");
    });
  }

  Status Usage(ServerContext*, const api::UsageRequest* request,
               api::UsageResponse* response) override {
    return run("Usage", request->key(), [&](Snapshotter& snapshotter) -> Result<void> {
      RUNNEL_TRY(const auto used, snapshotter.usage(request->key()));
      response->set_size(static_cast<int64_t>(used.bytes));
      response->set_inodes(static_cast<int64_t>(used.inodes));
      return {};
    });
  }

  Status Cleanup(ServerContext*, const api::CleanupRequest*, Empty*) override {
    return run("Cleanup", "", [](Snapshotter& snapshotter) { return snapshotter.cleanup(); });
  }

 private:
  // call: (Snapshotter&) -> Result<void>. `name` is what it is about, for the log.
  template <class Call>
  Status run(const char* what, const std::string& name, const Call& call) {
    const SteadyTime started = std::chrono::steady_clock::now();
    CallObserver* const observer = observer_;
    const uint64_t number = observer == nullptr ? 0 : observer->call_begun(what, name);
    const auto result = answer(call);
    const char* const code = result ? "ok" : to_string(result.error().code);
    counts_.add(what, code, std::chrono::steady_clock::now() - started);
    if (observer != nullptr) observer->call_ended(number, code);
    return result ? Status::OK : status_of(result.error(), what, name);
  }

  template <class Call>
  Result<void> answer(const Call& call) {
    Snapshotter* const snapshotter = attachment_.wait(kStartLimit);
    if (snapshotter != nullptr) return call(*snapshotter);
    return fail(Code::kUnavailable, "the node is starting or ending");
  }

  static bool write(const std::vector<Info>& infos,
                    grpc::ServerWriter<api::ListSnapshotsResponse>& writer) {
    api::ListSnapshotsResponse message;
    for (const auto& info : infos) {
      fill(info, message.add_info());
      if (message.info_size() < static_cast<int>(kInfosPerMessage)) continue;
      if (!writer.Write(message)) return false;
      message.clear_info();
    }
    return message.info_size() == 0 || writer.Write(message);
  }

  Attachment& attachment_;
  CallCounts& counts_;
  std::atomic<CallObserver*> observer_ = nullptr;
};

}  // namespace

class Service::Impl {
 public:
  void observe(CallObserver& observer) { calls_.observe(observer); }
  void attach(Snapshotter& snapshotter) { attachment_.set(snapshotter); }
  const CallCounts& counts() const { return counts_; }

  Result<void> listen(const std::string& socket) {
    return socket_.publish(socket, [&](const std::string& path) { return bind(path); });
  }

  Result<void> serve(UniqueFd listener) {
    RUNNEL_DO(build([](grpc::ServerBuilder&) {}));
    acceptor_ = std::make_unique<Acceptor>(std::move(listener), *server_);
    return {};
  }

  void stop() {
    if (auto* const snapshotter = attachment_.close()) snapshotter->begin_stop();
    socket_.remove();
    acceptor_.reset();
    if (server_) server_->Shutdown(std::chrono::system_clock::now() + kStopGrace);
  }

 private:
  Result<void> bind(const std::string& path) {
    int port = 0;
    const auto built = build([&](grpc::ServerBuilder& builder) {
      builder.AddListeningPort("unix:" + path, grpc::InsecureServerCredentials(), &port);
    });
    if (built && port != 0) return {};
    return fail(Code::kUnavailable, "cannot listen on {}: is its directory writable?", path);
  }

  template <class Configure>
  Result<void> build(const Configure& configure) {
    grpc::ResourceQuota quota("snapshotter");
    quota.SetMaxThreads(kMaxThreads);
    grpc::ServerBuilder builder;
    builder.SetResourceQuota(quota);
    configure(builder);
    builder.RegisterService(&calls_);
    server_ = builder.BuildAndStart();
    if (server_) return {};
    return fail(Code::kUnavailable, "the gRPC server does not start");
  }

  Attachment attachment_;
  CallCounts counts_;
  Calls calls_{attachment_, counts_};
  PrivateSocket socket_;
  std::unique_ptr<grpc::Server> server_;
  std::unique_ptr<Acceptor> acceptor_;  // hands to server_
};

Service::Service(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
Service::~Service() {
  stop();
}
void Service::stop() {
  impl_->stop();
}

const CallCounts& Service::counts() const {
  return impl_->counts();
}

void Service::observe(CallObserver& observer) {
  impl_->observe(observer);
}

void Service::attach(Snapshotter& snapshotter) {
  impl_->attach(snapshotter);
}

Result<std::unique_ptr<Service>> Service::serve(UniqueFd listener) {
  auto impl = std::make_unique<Impl>();
  RUNNEL_DO(impl->serve(std::move(listener)));
  return std::unique_ptr<Service>(new Service(std::move(impl)));
}

Result<std::unique_ptr<Service>> Service::listen(const std::string& socket,
                                                 Snapshotter& snapshotter) {
  auto impl = std::make_unique<Impl>();
  impl->attach(snapshotter);
  RUNNEL_DO(impl->listen(socket));
  return std::unique_ptr<Service>(new Service(std::move(impl)));
}

}  // namespace runnel::snapshot
