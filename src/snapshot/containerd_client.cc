#include "snapshot/containerd_client.h"

#include <google/protobuf/empty.pb.h>
#include <grpcpp/grpcpp.h>

#include "containers.grpc.pb.h"
#include "content.grpc.pb.h"
#include "introspection.grpc.pb.h"
#include "leases.grpc.pb.h"
#include "namespaces.grpc.pb.h"
#include "version.grpc.pb.h"

namespace runnel::snapshot {

namespace {

namespace services = containerd::services;

constexpr int kMaxMessage = 64 << 20;
constexpr const char* kNamespaceHeader = "containerd-namespace";

Code code_of(grpc::StatusCode code) {
  switch (code) {
    case grpc::StatusCode::NOT_FOUND: return Code::kNotFound;
    case grpc::StatusCode::ALREADY_EXISTS: return Code::kExists;
    case grpc::StatusCode::INVALID_ARGUMENT: return Code::kInvalid;
    case grpc::StatusCode::UNIMPLEMENTED: return Code::kUnsupported;
    case grpc::StatusCode::PERMISSION_DENIED: return Code::kDenied;
    default: return Code::kUnavailable;
  }
}

std::shared_ptr<grpc::Channel> open_channel(const std::string& socket) {
  grpc::ChannelArguments arguments;
  arguments.SetMaxReceiveMessageSize(kMaxMessage);
  arguments.SetInt(GRPC_ARG_MAX_RECONNECT_BACKOFF_MS, 500);
  arguments.SetInt(GRPC_ARG_INITIAL_RECONNECT_BACKOFF_MS, 100);
  return grpc::CreateCustomChannel("unix:" + socket, grpc::InsecureChannelCredentials(), arguments);
}

// One call's context: its deadline, and that it may wait for the peer to come up.
class Call {
 public:
  explicit Call(Duration timeout, const std::string& name_space = {}) {
    context.set_deadline(std::chrono::system_clock::now() +
                         std::chrono::duration_cast<std::chrono::milliseconds>(timeout));
    context.set_wait_for_ready(true);
    if (!name_space.empty()) context.AddMetadata(kNamespaceHeader, name_space);
  }

  grpc::ClientContext context;
};

Result<void> outcome(const grpc::Status& status, const std::string& socket) {
  if (status.ok()) return {};
  return fail(code_of(status.error_code()), "containerd at {}: {}", socket, status.error_message());
}

}  // namespace

struct ContainerdClient::Stubs {
  explicit Stubs(const std::shared_ptr<grpc::Channel>& channel)
      : version(services::version::v1::Version::NewStub(channel)),
        introspection(services::introspection::v1::Introspection::NewStub(channel)),
        namespaces(services::namespaces::v1::Namespaces::NewStub(channel)),
        containers(services::containers::v1::Containers::NewStub(channel)),
        content(services::content::v1::Content::NewStub(channel)),
        leases(services::leases::v1::Leases::NewStub(channel)) {}

  const std::unique_ptr<services::version::v1::Version::Stub> version;
  const std::unique_ptr<services::introspection::v1::Introspection::Stub> introspection;
  const std::unique_ptr<services::namespaces::v1::Namespaces::Stub> namespaces;
  const std::unique_ptr<services::containers::v1::Containers::Stub> containers;
  const std::unique_ptr<services::content::v1::Content::Stub> content;
  const std::unique_ptr<services::leases::v1::Leases::Stub> leases;
};

ContainerdClient::ContainerdClient(const std::string& socket, Duration timeout)
    : socket_(socket), timeout_(timeout), stubs_(std::make_unique<Stubs>(open_channel(socket))) {}

ContainerdClient::~ContainerdClient() = default;

Result<std::string> ContainerdClient::version() const {
  Call call(timeout_);
  services::version::v1::VersionResponse response;
  RUNNEL_DO(outcome(stubs_->version->Version(&call.context, {}, &response), socket_));
  return response.version();
}

Result<std::vector<ContainerdClient::Plugin>> ContainerdClient::plugins() const {
  Call call(timeout_);
  services::introspection::v1::PluginsResponse response;
  RUNNEL_DO(outcome(stubs_->introspection->Plugins(&call.context, {}, &response), socket_));
  std::vector<Plugin> found;
  for (const auto& each : response.plugins()) {
    const auto& error = each.init_err();
    found.push_back({.type = each.type(),
                     .id = each.id(),
                     .error = error.code() != 0 && error.message().empty() ? "it did not start"
                                                                           : error.message(),
                     .capabilities = {each.capabilities().begin(), each.capabilities().end()}});
  }
  return found;
}

Result<std::vector<std::string>> ContainerdClient::namespaces() const {
  Call call(timeout_);
  services::namespaces::v1::ListNamespacesResponse response;
  RUNNEL_DO(outcome(stubs_->namespaces->List(&call.context, {}, &response), socket_));
  std::vector<std::string> names;
  for (const auto& each : response.namespaces()) names.push_back(each.name());
  return names;
}

Result<std::vector<ContainerdClient::Container>> ContainerdClient::containers(
    const std::string& name_space) const {
  Call call(timeout_, name_space);
  services::containers::v1::ListContainersResponse response;
  RUNNEL_DO(outcome(stubs_->containers->List(&call.context, {}, &response), socket_));
  std::vector<Container> found;
  for (const auto& each : response.containers()) {
    found.push_back({.id = each.id(),
                     .image = each.image(),
                     .snapshotter = each.snapshotter(),
                     .snapshot_key = each.snapshot_key()});
  }
  return found;
}

Result<void> ContainerdClient::forget_snapshot(const std::string& name_space,
                                               const std::string& container) const {
  Call call(timeout_, name_space);
  services::containers::v1::UpdateContainerRequest request;
  request.mutable_container()->set_id(container);
  request.mutable_update_mask()->add_paths("snapshotkey");  // containerd's spelling
  services::containers::v1::UpdateContainerResponse response;
  return outcome(stubs_->containers->Update(&call.context, request, &response), socket_);
}

Result<void> ContainerdClient::remove_content_label(const std::string& name_space,
                                                    const std::string& label) const {
  std::vector<std::string> digests;
  {
    Call call(timeout_, name_space);
    const auto reader = stubs_->content->List(&call.context, {});
    services::content::v1::ListContentResponse part;
    while (reader->Read(&part)) {
      for (const auto& each : part.info()) {
        if (each.labels().contains(label)) digests.push_back(each.digest());
      }
    }
    RUNNEL_DO(outcome(reader->Finish(), socket_));
  }
  for (const auto& digest : digests) {
    Call call(timeout_, name_space);
    services::content::v1::UpdateRequest request;
    request.mutable_info()->set_digest(digest);
    (*request.mutable_info()->mutable_labels())[label] = "";
    request.mutable_update_mask()->add_paths("labels." + label);
    services::content::v1::UpdateResponse response;
    const auto updated =
        outcome(stubs_->content->Update(&call.context, request, &response), socket_);
    if (!updated && updated.error().code != Code::kNotFound) return updated;
  }
  return {};
}

// Removing a lease with "sync" answers after a collection.
Result<void> ContainerdClient::collect_garbage(const std::string& name_space) const {
  const std::string id = "runnel-collect";
  {
    Call call(timeout_, name_space);
    services::leases::v1::CreateRequest request;
    request.set_id(id);
    services::leases::v1::CreateResponse response;
    const auto made = outcome(stubs_->leases->Create(&call.context, request, &response), socket_);
    if (!made && made.error().code != Code::kExists) return made;
  }
  Call call(timeout_, name_space);
  services::leases::v1::DeleteRequest request;
  request.set_id(id);
  request.set_sync(true);
  google::protobuf::Empty response;
  return outcome(stubs_->leases->Delete(&call.context, request, &response), socket_);
}

}  // namespace runnel::snapshot
