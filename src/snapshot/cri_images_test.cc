#include "snapshot/cri_images.h"

#include <grpcpp/grpcpp.h>
#include <gtest/gtest.h>

#include <thread>

#include "cri.grpc.pb.h"
#include "support/temp_dir.h"

namespace runnel::snapshot {
namespace {

namespace cri = runtime::v1;

// Has every image but "absent"; pulls of "slow" last until the caller gives up, and "unsupported"
// is as in a runtime without this service.
class FakeRuntime final : public cri::ImageService::Service {
 public:
  grpc::Status PullImage(grpc::ServerContext* context, const cri::PullImageRequest* request,
                         cri::PullImageResponse* response) override {
    if (request->image().image() == "absent") return {grpc::StatusCode::NOT_FOUND, "no such image"};
    if (request->image().image() == "unsupported")
      return {grpc::StatusCode::UNIMPLEMENTED, "no such service"};
    while (request->image().image() == "slow" && !context->IsCancelled()) {
      pulling.test_and_set();
      pulling.notify_all();
      std::this_thread::yield();
    }
    response->set_image_ref("sha256:id");
    return grpc::Status::OK;
  }

  std::atomic_flag pulling;
};

class CriImagesTest : public testing::Test {
 protected:
  void SetUp() override {
    grpc::ServerBuilder builder;
    builder.AddListeningPort("unix:" + socket(), grpc::InsecureServerCredentials());
    builder.RegisterService(&runtime_);
    server_ = builder.BuildAndStart();
    ASSERT_TRUE(server_);
  }
  std::string socket() const { return dir_.path() + "/cri.sock"; }

  test::TempDir dir_;
  FakeRuntime runtime_;
  std::unique_ptr<grpc::Server> server_;
};

TEST_F(CriImagesTest, PullsAndReturnsTheImagesId) {
  EXPECT_EQ(pull_image(socket(), "known", std::chrono::seconds(60)).value(), "sha256:id");
}

TEST_F(CriImagesTest, PassesTheRuntimesWordsOn) {
  const auto pulled = pull_image(socket(), "absent", std::nullopt);

  ASSERT_FALSE(pulled);
  EXPECT_EQ(pulled.error().code, Code::kNotFound);
  EXPECT_NE(pulled.error().message.find("no such image"), std::string::npos);
  EXPECT_EQ(pull_image(socket(), "unsupported", std::nullopt).error().code, Code::kUnsupported);
}

TEST_F(CriImagesTest, EndsAPullWithoutDeadlineWhenAskedTo) {
  std::stop_source stop;
  std::thread stopper([&] {
    runtime_.pulling.wait(false);
    stop.request_stop();
  });

  const auto pulled = pull_image(socket(), "slow", std::nullopt, stop.get_token());

  stopper.join();
  ASSERT_FALSE(pulled);
  EXPECT_EQ(pulled.error().code, Code::kCancelled);
}

TEST_F(CriImagesTest, GivesUpAtItsDeadlineAndWhereNobodyListens) {
  EXPECT_EQ(pull_image(socket(), "slow", std::chrono::milliseconds(50)).error().code,
            Code::kUnavailable);
  EXPECT_EQ(pull_image(dir_.path() + "/none", "known", Duration::max()).error().code,
            Code::kUnavailable);
}

}  // namespace
}  // namespace runnel::snapshot
