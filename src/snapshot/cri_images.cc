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

// One call to the image service behind a socket.
class Call {
 public:
  Call(const std::string& socket, std::optional<Duration> timeout)
      : stub_(cri::ImageService::NewStub(
            grpc::CreateChannel("unix:" + socket, grpc::InsecureChannelCredentials()))),
        socket_(socket) {
    if (!timeout) return;
    const auto bounded = std::min<Duration>(*timeout, kLongest);
    context_.set_deadline(std::chrono::system_clock::now() +
                          std::chrono::duration_cast<std::chrono::milliseconds>(bounded));
  }

  // run(&cri::ImageService::Stub::PullImage, request, response, stop)
  template <class Request, class Response>
  Result<void> run(grpc::Status (cri::ImageService::Stub::*method)(grpc::ClientContext*,
                                                                   const Request&, Response*),
                   const Request& request, Response& response, const std::stop_token& stop = {}) {
    const std::stop_callback cancel(stop, [this] { context_.TryCancel(); });
    const auto status = (stub_.get()->*method)(&context_, request, &response);
    if (status.ok()) return {};
    if (status.error_code() == grpc::StatusCode::UNIMPLEMENTED) {
      return fail(Code::kUnsupported, "containerd at {} has no CRI image service: {}", socket_,
                  status.error_message());
    }
    return fail(code_of(status.error_code()), "containerd at {}: {}", socket_,
                status.error_message());
  }

 private:
  const std::unique_ptr<cri::ImageService::Stub> stub_;
  const std::string& socket_;
  grpc::ClientContext context_;
};

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
  cri::PullImageResponse response;
  RUNNEL_DO(
      Call(socket, timeout).run(&cri::ImageService::Stub::PullImage, request, response, stop));
  return response.image_ref();
}

Result<void> remove_image(const std::string& socket, const std::string& image, Duration timeout) {
  cri::RemoveImageRequest request;
  request.mutable_image()->set_image(image);
  cri::RemoveImageResponse response;
  return Call(socket, timeout).run(&cri::ImageService::Stub::RemoveImage, request, response);
}

}  // namespace runnel::snapshot
