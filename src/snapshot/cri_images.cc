#include "snapshot/cri_images.h"

#include <grpcpp/grpcpp.h>

#include <algorithm>

#include "cri.grpc.pb.h"

namespace runnel::snapshot {

namespace {

namespace cri = runtime::v1;

// Later than any deadline that somebody means; more would overflow the clock.
constexpr auto kLongest = std::chrono::hours(24 * 365);

Code code_of(grpc::StatusCode code) {
  switch (code) {
    case grpc::StatusCode::NOT_FOUND: return Code::kNotFound;
    case grpc::StatusCode::INVALID_ARGUMENT: return Code::kInvalid;
    case grpc::StatusCode::UNIMPLEMENTED: return Code::kUnsupported;
    case grpc::StatusCode::PERMISSION_DENIED: return Code::kDenied;
    case grpc::StatusCode::CANCELLED: return Code::kCancelled;
    case grpc::StatusCode::RESOURCE_EXHAUSTED: return Code::kExhausted;
    default: return Code::kUnavailable;
  }
}

std::unexpected<Error> failure(const grpc::Status& status, const std::string& socket) {
  if (status.error_code() == grpc::StatusCode::UNIMPLEMENTED) {
    return fail(Code::kUnsupported, "containerd at {} has no CRI image service: {}", socket,
                status.error_message());
  }
  return fail(code_of(status.error_code()), "containerd at {}: {}", socket, status.error_message());
}

}  // namespace

Result<std::string> pull_image(const std::string& socket, const std::string& image,
                               std::optional<Duration> timeout, const std::stop_token& stop,
                               const PullAuth& auth) {
  cri::PullImageRequest request;
  request.mutable_image()->set_image(image);
  if (!auth.user.empty()) {
    request.mutable_auth()->set_username(auth.user);
    request.mutable_auth()->set_password(auth.secret);
  }
  grpc::ClientContext context;
  if (timeout) {
    const auto bounded = std::min<Duration>(*timeout, kLongest);
    context.set_deadline(std::chrono::system_clock::now() +
                         std::chrono::duration_cast<std::chrono::milliseconds>(bounded));
  }
  const auto stub = cri::ImageService::NewStub(
      grpc::CreateChannel("unix:" + socket, grpc::InsecureChannelCredentials()));
  const std::stop_callback cancel(stop, [&context] { context.TryCancel(); });
  cri::PullImageResponse response;
  const auto status = stub->PullImage(&context, request, &response);
  if (!status.ok()) return failure(status, socket);
  return response.image_ref();
}

// containerd says all that a registry refuses with one code, so its words have to tell
// (remotes/docker: the resolver's, and the status line of an answer).
bool wants_password(const Error& error) {
  constexpr std::string_view kWords[] = {"authorization failed", "pull access denied",
                                         "401 Unauthorized", "403 Forbidden"};
  return std::ranges::any_of(kWords, [&](auto words) { return error.message.contains(words); });
}

}  // namespace runnel::snapshot
