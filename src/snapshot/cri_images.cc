#include "snapshot/cri_images.h"

#include <grpcpp/grpcpp.h>

#include "cri.grpc.pb.h"

namespace runnel::snapshot {

namespace {

namespace cri = runtime::v1;

Code code_of(grpc::StatusCode code) {
  switch (code) {
    case grpc::StatusCode::NOT_FOUND: return Code::kNotFound;
    case grpc::StatusCode::INVALID_ARGUMENT: return Code::kInvalid;
    case grpc::StatusCode::UNIMPLEMENTED: return Code::kUnsupported;
    case grpc::StatusCode::PERMISSION_DENIED: return Code::kDenied;
    default: return Code::kUnavailable;
  }
}

}  // namespace

Result<std::string> pull_image(const std::string& socket, const std::string& image,
                               Duration timeout) {
  const auto channel = grpc::CreateChannel("unix:" + socket, grpc::InsecureChannelCredentials());
  const auto images = cri::ImageService::NewStub(channel);
  cri::PullImageRequest request;
  request.mutable_image()->set_image(image);
  cri::PullImageResponse response;
  grpc::ClientContext context;
  context.set_deadline(std::chrono::system_clock::now() +
                       std::chrono::duration_cast<std::chrono::milliseconds>(timeout));
  const auto status = images->PullImage(&context, request, &response);
  if (status.ok()) return response.image_ref();
  if (status.error_code() == grpc::StatusCode::UNIMPLEMENTED) {
    return fail(Code::kUnsupported, "containerd at {} has no CRI image service: {}", socket,
                status.error_message());
  }
  return fail(code_of(status.error_code()), "containerd at {}: {}", socket, status.error_message());
}

}  // namespace runnel::snapshot
