#include "snapshot/service.h"

#include <grpcpp/grpcpp.h>
#include <grpcpp/resource_quota.h>

#include "base/log.h"
#include "base/quote.h"
#include "snapshot/acceptor.h"
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

// One call of a client, from its start to its answer.
class Call {
 public:
  Call(CallCounts& counts, const char* name)
      : counts_(counts), name_(name), started_(std::chrono::steady_clock::now()) {}
  ~Call() { counts_.add(name_, code_, std::chrono::steady_clock::now() - started_); }
  Call(const Call&) = delete;
  Call& operator=(const Call&) = delete;

  // `of` is the snapshot.
  template <class T>
  Status end(const Result<T>& result, const std::string& of) {
    if (result) return Status::OK;
    code_ = to_string(result.error().code);
    return status_of(result.error(), name_, of);
  }
  Status cancelled() {
    code_ = to_string(Code::kCancelled);
    return Status::CANCELLED;
  }

 private:
  CallCounts& counts_;
  const char* const name_;
  const char* code_ = "ok";
  const SteadyTime started_;
};

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
  Calls(Snapshotter& snapshotter, CallCounts& counts)
      : snapshotter_(snapshotter), counts_(counts) {}

  Status Prepare(ServerContext*, const api::PrepareSnapshotRequest* request,
                 api::PrepareSnapshotResponse* response) override {
    Call call(counts_, "Prepare");
    const auto mounts =
        snapshotter_.prepare(request->key(), request->parent(), labels_of(request->labels()));
    if (mounts) fill(*mounts, response->mutable_mounts());
    return call.end(mounts, request->key());
  }

  Status View(ServerContext*, const api::ViewSnapshotRequest* request,
              api::ViewSnapshotResponse* response) override {
    Call call(counts_, "View");
    const auto mounts =
        snapshotter_.view(request->key(), request->parent(), labels_of(request->labels()));
    if (mounts) fill(*mounts, response->mutable_mounts());
    return call.end(mounts, request->key());
  }

  Status Mounts(ServerContext*, const api::MountsRequest* request,
                api::MountsResponse* response) override {
    Call call(counts_, "Mounts");
    const auto mounts = snapshotter_.mounts(request->key());
    if (mounts) fill(*mounts, response->mutable_mounts());
    return call.end(mounts, request->key());
  }

  Status Commit(ServerContext*, const api::CommitSnapshotRequest* request, Empty*) override {
    Call call(counts_, "Commit");
    return call.end(
        snapshotter_.commit(request->key(), request->name(), labels_of(request->labels())),
        request->key());
  }

  Status Remove(ServerContext*, const api::RemoveSnapshotRequest* request, Empty*) override {
    Call call(counts_, "Remove");
    return call.end(snapshotter_.remove(request->key()), request->key());
  }

  Status Stat(ServerContext*, const api::StatSnapshotRequest* request,
              api::StatSnapshotResponse* response) override {
    Call call(counts_, "Stat");
    const auto info = snapshotter_.stat(request->key());
    if (info) fill(*info, response->mutable_info());
    return call.end(info, request->key());
  }

  Status Update(ServerContext*, const api::UpdateSnapshotRequest* request,
                api::UpdateSnapshotResponse* response) override {
    Call call(counts_, "Update");
    Info wanted;
    wanted.name = request->info().name();
    wanted.labels = labels_of(request->info().labels());
    const auto& paths = request->update_mask().paths();
    const auto info = snapshotter_.update(wanted, {paths.begin(), paths.end()});
    if (info) fill(*info, response->mutable_info());
    return call.end(info, wanted.name);
  }

  Status List(ServerContext*, const api::ListSnapshotsRequest* request,
              grpc::ServerWriter<api::ListSnapshotsResponse>* writer) override {
    Call call(counts_, "List");
    const auto& filters = request->filters();
    const auto infos = snapshotter_.list({filters.begin(), filters.end()});
    if (!infos) return call.end(infos, "");
    api::ListSnapshotsResponse message;
    for (const auto& info : *infos) {
      fill(info, message.add_info());
      if (message.info_size() < static_cast<int>(kInfosPerMessage)) continue;
      if (!writer->Write(message)) return call.cancelled();
      message.clear_info();
    }
    if (message.info_size() > 0 && !writer->Write(message)) return call.cancelled();
    return Status::OK;
  }

  Status Usage(ServerContext*, const api::UsageRequest* request,
               api::UsageResponse* response) override {
    Call call(counts_, "Usage");
    const auto used = snapshotter_.usage(request->key());
    if (used) {
      response->set_size(static_cast<int64_t>(used->bytes));
      response->set_inodes(static_cast<int64_t>(used->inodes));
    }
    return call.end(used, request->key());
  }

  Status Cleanup(ServerContext*, const api::CleanupRequest*, Empty*) override {
    Call call(counts_, "Cleanup");
    return call.end(snapshotter_.cleanup(), "");
  }

 private:
  Snapshotter& snapshotter_;
  CallCounts& counts_;
};

}  // namespace

class Service::Impl {
 public:
  explicit Impl(Snapshotter& snapshotter) : calls_(snapshotter, counts_) {}

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

  CallCounts counts_;
  Calls calls_;
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

Result<std::unique_ptr<Service>> Service::serve(UniqueFd listener, Snapshotter& snapshotter) {
  auto impl = std::make_unique<Impl>(snapshotter);
  RUNNEL_DO(impl->serve(std::move(listener)));
  return std::unique_ptr<Service>(new Service(std::move(impl)));
}

const CallCounts& Service::counts() const {
  return impl_->counts();
}

Result<std::unique_ptr<Service>> Service::listen(const std::string& socket,
                                                 Snapshotter& snapshotter) {
  auto impl = std::make_unique<Impl>(snapshotter);
  RUNNEL_DO(impl->listen(socket));
  return std::unique_ptr<Service>(new Service(std::move(impl)));
}

}  // namespace runnel::snapshot
