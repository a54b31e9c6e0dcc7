#include "snapshot/containerd_images.h"

#include <google/protobuf/empty.pb.h>
#include <grpcpp/grpcpp.h>
#include <unistd.h>

#include <ctime>

#include "base/log.h"
#include "content.grpc.pb.h"
#include "images.grpc.pb.h"
#include "leases.grpc.pb.h"
#include "snapshots.grpc.pb.h"

namespace runnel::snapshot {

namespace {

namespace content = containerd::services::content::v1;
namespace images = containerd::services::images::v1;
namespace leases = containerd::services::leases::v1;
namespace snapshots = containerd::services::snapshots::v1;

constexpr const char* kNamespaceHeader = "containerd-namespace";
constexpr const char* kLeaseHeader = "containerd-lease";
// A lease that was left behind by a process that died goes after so long.
constexpr const char* kExpireLabel = "containerd.io/gc.expire";
constexpr auto kLeaseLife = std::chrono::hours(24);
constexpr const char* kSnapshotRefLabel = "containerd.io/snapshot.ref";
constexpr auto kPrepareTime = std::chrono::seconds(60);  // the snapshotter may wait for a verdict
constexpr auto kSyncTime = std::chrono::minutes(3);      // a commit waits for the disk
constexpr uint64_t kSlowest = 50'000;  // bytes a second; a write that is slower has failed

Code code_of(grpc::StatusCode code) {
  switch (code) {
    case grpc::StatusCode::NOT_FOUND: return Code::kNotFound;
    case grpc::StatusCode::ALREADY_EXISTS: return Code::kExists;
    case grpc::StatusCode::INVALID_ARGUMENT: return Code::kInvalid;
    case grpc::StatusCode::FAILED_PRECONDITION: return Code::kConflict;
    case grpc::StatusCode::UNIMPLEMENTED: return Code::kUnsupported;
    case grpc::StatusCode::PERMISSION_DENIED: return Code::kDenied;
    default: return Code::kUnavailable;
  }
}

std::string as_rfc3339(std::chrono::system_clock::time_point time) {
  const std::time_t seconds = std::chrono::system_clock::to_time_t(time);
  std::tm parts{};
  ::gmtime_r(&seconds, &parts);
  char text[32];
  return {text, std::strftime(text, sizeof text, "%Y-%m-%dT%H:%M:%SZ", &parts)};
}

}  // namespace

struct ContainerdImages::Stubs {
  explicit Stubs(const std::shared_ptr<grpc::Channel>& channel)
      : image(images::Images::NewStub(channel)),
        content(content::Content::NewStub(channel)),
        lease(leases::Leases::NewStub(channel)),
        snapshot(snapshots::Snapshots::NewStub(channel)) {}

  const std::unique_ptr<images::Images::Stub> image;
  const std::unique_ptr<content::Content::Stub> content;
  const std::unique_ptr<leases::Leases::Stub> lease;
  const std::unique_ptr<snapshots::Snapshots::Stub> snapshot;
};

// One call: its context, and what its status means.
class ContainerdImages::Call {
 public:
  // `more`: for calls that last as long as their bytes come.
  explicit Call(const ContainerdImages& client, Duration more = {}) : client_(client) {
    context.AddMetadata(kNamespaceHeader, client.namespace_);
    if (!client.lease_.empty()) context.AddMetadata(kLeaseHeader, client.lease_);
    context.set_deadline(
        std::chrono::system_clock::now() +
        std::chrono::duration_cast<std::chrono::milliseconds>(client.timeout_ + more));
  }

  Result<void> outcome(const grpc::Status& status) const {
    if (status.ok()) return {};
    return fail(code_of(status.error_code()), "containerd at {}: {}", client_.socket_,
                status.error_message());
  }

  grpc::ClientContext context;

 private:
  const ContainerdImages& client_;
};

ContainerdImages::ContainerdImages(std::string socket, std::string name_space, Duration timeout)
    : socket_(std::move(socket)),
      namespace_(std::move(name_space)),
      timeout_(timeout),
      stubs_(std::make_unique<Stubs>(
          grpc::CreateChannel("unix:" + socket_, grpc::InsecureChannelCredentials()))) {}

ContainerdImages::~ContainerdImages() = default;

Result<ContainerdImages::Target> ContainerdImages::image(const std::string& name) const {
  Call call(*this);
  images::GetImageRequest request;
  request.set_name(name);
  images::GetImageResponse response;
  const auto done = call.outcome(stubs_->image->Get(&call.context, request, &response));
  if (!done && done.error().code == Code::kNotFound)
    return fail(Code::kNotFound,
                "containerd at {}: not found in its namespace {} (--namespace names another)",
                socket_, namespace_);
  RUNNEL_DO(done);
  const auto& target = response.image().target();
  return Target{.media_type = target.media_type(),
                .digest = target.digest(),
                .size = static_cast<uint64_t>(target.size())};
}

Result<std::optional<ContainerdImages::Labels>> ContainerdImages::content_labels(
    const std::string& digest) const {
  Call call(*this);
  content::InfoRequest request;
  request.set_digest(digest);
  content::InfoResponse response;
  const auto found = call.outcome(stubs_->content->Info(&call.context, request, &response));
  if (!found && found.error().code == Code::kNotFound) return std::nullopt;
  RUNNEL_DO(found);
  const auto& labels = response.info().labels();
  return Labels(labels.begin(), labels.end());
}

Result<Buffer> ContainerdImages::read_content(const std::string& digest, uint64_t limit) const {
  Call call(*this);
  content::ReadContentRequest request;
  request.set_digest(digest);
  const auto reader = stubs_->content->Read(&call.context, request);
  Buffer bytes;
  content::ReadContentResponse piece;
  while (reader->Read(&piece)) {
    const auto data = as_bytes(piece.data());
    if (data.size() > limit - bytes.size()) {
      call.context.TryCancel();
      reader->Finish();
      return fail(Code::kExhausted, "{} has more than {} bytes", digest, limit);
    }
    bytes.insert(bytes.end(), data.begin(), data.end());
  }
  RUNNEL_DO(call.outcome(reader->Finish()));
  return bytes;
}

Result<void> ContainerdImages::label_content(const std::string& digest,
                                             const Labels& labels) const {
  Call call(*this);
  content::UpdateRequest request;
  request.mutable_info()->set_digest(digest);
  for (const auto& [name, value] : labels) {
    (*request.mutable_info()->mutable_labels())[name] = value;
    request.mutable_update_mask()->add_paths("labels." + name);
  }
  content::UpdateResponse response;
  return call.outcome(stubs_->content->Update(&call.context, request, &response));
}

// One write to the content store. The service answers each message of the stream with one, and the
// last one twice: whoever does not read the second waits for the end until the deadline.
class ContainerdImages::Writing {
 public:
  Writing(const ContainerdImages& client, const std::string& digest, uint64_t size)
      : client_(client),
        call_(client, kSyncTime + std::chrono::seconds(size / kSlowest)),
        stream_(client.stubs_->content->Write(&call_.context)) {
    request_.set_ref("runnel-" + digest);
    request_.set_total(static_cast<int64_t>(size));
    request_.set_expected(digest);
  }
  // Not by cancelling: only after a regular end is it sure that containerd has let go of the name.
  ~Writing() {
    if (!ended_) (void)end();
  }
  Writing(const Writing&) = delete;
  Writing& operator=(const Writing&) = delete;

  const std::string& ref() const { return request_.ref(); }

  // From where on bytes are missing. kExists when none are.
  Result<uint64_t> begin() {
    request_.set_action(content::STAT);
    RUNNEL_DO(exchange());
    const int64_t offset = response_.offset();
    if (offset < 0 || offset > request_.total()) {
      return fail(Code::kInvalid, "containerd has {} of {} bytes of {}", offset, request_.total(),
                  ref());
    }
    return static_cast<uint64_t>(offset);
  }

  Result<void> add(uint64_t offset, Bytes piece) {
    request_.set_action(content::WRITE);
    request_.set_offset(static_cast<int64_t>(offset));
    request_.set_data(piece.data(), piece.size());
    return exchange();
  }

  Result<void> commit(const Labels& labels) {
    request_.set_action(content::COMMIT);
    request_.set_offset(request_.total());
    request_.clear_data();
    request_.mutable_labels()->insert(labels.begin(), labels.end());
    RUNNEL_DO(exchange());
    return call_.outcome(end());
  }

 private:
  Result<void> exchange() {
    if (stream_->Write(request_) && stream_->Read(&response_)) return {};
    RUNNEL_DO(call_.outcome(end()));
    return fail(Code::kUnavailable, "containerd at {} ended a write early", client_.socket_);
  }

  grpc::Status end() {
    ended_ = true;
    stream_->WritesDone();
    while (stream_->Read(&response_)) {
    }
    return stream_->Finish();
  }

  const ContainerdImages& client_;
  Call call_;
  const std::unique_ptr<
      grpc::ClientReaderWriter<content::WriteContentRequest, content::WriteContentResponse>>
      stream_;
  content::WriteContentRequest request_;
  content::WriteContentResponse response_;
  bool ended_ = false;
};

// An error of the producer leaves what has come under its name, and the next call goes on there.
Result<void> ContainerdImages::write_content(const std::string& digest, uint64_t size,
                                             const Labels& labels, const Produce& produce) const {
  Writing writing(*this, digest, size);
  const auto written = [&]() -> Result<void> {
    RUNNEL_TRY(uint64_t offset, writing.begin());
    const auto write = [&](Bytes piece) -> Result<void> {
      if (piece.size() > size - offset) {
        return fail(Code::kInvalid, "{} has more than {} bytes", digest, size);
      }
      RUNNEL_DO(writing.add(offset, piece));
      offset += piece.size();
      return {};
    };
    if (offset < size) RUNNEL_DO(produce(offset, write));
    if (offset < size) {
      return fail(Code::kUnavailable, "{} of {} bytes of {} came", offset, size, digest);
    }
    auto committed = writing.commit(labels);
    if (!committed && committed.error().code == Code::kConflict) forget_write(writing.ref());
    return committed;
  }();
  const bool exists = !written && written.error().code == Code::kExists;
  return exists ? label_content(digest, labels) : written;
}

// Bytes that turned out wrong must not be gone on with.
void ContainerdImages::forget_write(const std::string& ref) const {
  Call call(*this);
  content::AbortRequest request;
  request.set_ref(ref);
  google::protobuf::Empty nothing;
  const auto forgotten = call.outcome(stubs_->content->Abort(&call.context, request, &nothing));
  if (!forgotten) log::warning("{} is left half written: {}", ref, forgotten.error().message);
}

Result<ContainerdImages::Lease> ContainerdImages::lease() {
  Call call(*this);
  const auto now = std::chrono::system_clock::now();
  leases::CreateRequest request;
  request.set_id(fmt::format("runnel-{}-{}", ::getpid(), now.time_since_epoch().count()));
  (*request.mutable_labels())[kExpireLabel] = as_rfc3339(now + kLeaseLife);
  leases::CreateResponse response;
  RUNNEL_DO(call.outcome(stubs_->lease->Create(&call.context, request, &response)));
  lease_ = response.lease().id();
  return Lease([this] {
    Call end(*this);
    leases::DeleteRequest remove;
    remove.set_id(std::exchange(lease_, {}));
    google::protobuf::Empty nothing;
    const auto ended = end.outcome(stubs_->lease->Delete(&end.context, remove, &nothing));
    if (!ended) log::warning("a lease is left to expire: {}", ended.error().message);
  });
}

Result<std::vector<ContainerdImages::Snapshot>> ContainerdImages::snapshots(
    const std::string& snapshotter) const {
  Call call(*this);
  snapshots::ListSnapshotsRequest request;
  request.set_snapshotter(snapshotter);
  const auto reader = stubs_->snapshot->List(&call.context, request);
  std::vector<Snapshot> found;
  snapshots::ListSnapshotsResponse response;
  while (reader->Read(&response)) {
    for (const auto& info : response.info()) {
      found.push_back({.name = info.name(),
                       .parent = info.parent(),
                       .committed = info.kind() == snapshots::COMMITTED});
    }
  }
  RUNNEL_DO(call.outcome(reader->Finish()));
  return found;
}

// An unpacker's question: "already exists" is the answer of a snapshotter that streams the layer.
Result<bool> ContainerdImages::find_snapshot(const std::string& snapshotter,
                                             const std::string& chain_id,
                                             const std::string& parent) const {
  const auto now = std::chrono::system_clock::now().time_since_epoch().count();
  const auto key = fmt::format("runnel-{}-{} {}", ::getpid(), now, chain_id);
  Call call(*this, kPrepareTime);
  snapshots::PrepareSnapshotRequest request;
  request.set_snapshotter(snapshotter);
  request.set_key(key);
  request.set_parent(parent);
  (*request.mutable_labels())[kSnapshotRefLabel] = chain_id;
  snapshots::PrepareSnapshotResponse response;
  const auto made = call.outcome(stubs_->snapshot->Prepare(&call.context, request, &response));
  if (!made && made.error().code == Code::kExists) return true;
  RUNNEL_DO(made);
  RUNNEL_DO(remove_snapshot(snapshotter, key));
  return false;
}

Result<void> ContainerdImages::remove_snapshot(const std::string& snapshotter,
                                               const std::string& name) const {
  Call call(*this);
  snapshots::RemoveSnapshotRequest request;
  request.set_snapshotter(snapshotter);
  request.set_key(name);
  google::protobuf::Empty nothing;
  return call.outcome(stubs_->snapshot->Remove(&call.context, request, &nothing));
}

}  // namespace runnel::snapshot
