#include "node/image_jobs.h"

#include <gtest/gtest.h>

#include <future>

namespace runnel::node {
namespace {

using std::chrono::milliseconds;
using std::chrono::minutes;

const ImageRequest kRequest{.image = "registry/app:1", .address = "/run/containerd.sock"};

TEST(ImageJobs, TellTheEndOnceAndBeginAnewThen) {
  int runs = 0;
  ImageJobs jobs({{"work", [&](const ImageRequest& request, const auto&) {
                     EXPECT_EQ(request, kRequest);
                     ++runs;
                     return ImageProgress{.layers = 3, .layers_here = 3, .done = 7, .total = 7};
                   }}});

  const auto first = jobs.ask("work", kRequest, minutes(1));
  const auto second = jobs.ask("work", kRequest, minutes(1));

  for (const auto& state : {first, second}) {
    EXPECT_TRUE(state.ended);
    EXPECT_EQ(state.error, "");
    EXPECT_EQ(state.progress.layers_here, 3u);
  }
  EXPECT_EQ(runs, 2);
}

TEST(ImageJobs, JoinWhoeverAsksForTheSameAndSayHowFarItIs) {
  std::promise<void> may_end;
  std::promise<void> is_half;
  int runs = 0;
  ImageJobs jobs({{"work", [&](const ImageRequest&, const auto& progress) {
                     ++runs;
                     progress(ImageProgress{.layers = 2, .layers_here = 1});
                     is_half.set_value();
                     may_end.get_future().wait();
                     return ImageProgress{.layers = 2, .layers_here = 2};
                   }}});
  EXPECT_FALSE(jobs.ask("work", kRequest, milliseconds(0)).ended);
  is_half.get_future().wait();

  const auto half = jobs.ask("work", kRequest, milliseconds(1));
  may_end.set_value();
  const auto whole = jobs.ask("work", kRequest, minutes(1));

  EXPECT_FALSE(half.ended);
  EXPECT_EQ(half.progress.layers_here, 1u);
  EXPECT_TRUE(whole.ended);
  EXPECT_EQ(whole.progress.layers_here, 2u);
  EXPECT_EQ(runs, 1);
}

TEST(ImageJobs, TellWhatWentWrong) {
  ImageJobs jobs({{"work", [](const ImageRequest&, const auto&) -> Result<ImageProgress> {
                     return fail(Code::kNotFound, "no such image");
                   }}});

  const auto state = jobs.ask("work", kRequest, minutes(1));

  EXPECT_TRUE(state.ended);
  EXPECT_EQ(state.error, "no such image");
  EXPECT_TRUE(jobs.has("work"));
  EXPECT_FALSE(jobs.has("another"));
}

}  // namespace
}  // namespace runnel::node
