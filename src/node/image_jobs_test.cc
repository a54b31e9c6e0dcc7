#include "node/image_jobs.h"

#include <gtest/gtest.h>

#include <future>
#include <semaphore>

#include "support/fake_clock.h"

namespace runnel::node {
namespace {

using std::chrono::milliseconds;
using std::chrono::minutes;

const ImageRequest kRequest{.image = "registry/app:1", .address = "/run/containerd.sock"};

TEST(ImageJobs, TellTheEndOnceAndBeginAnewThen) {
  test::FakeClock clock;
  int runs = 0;
  ImageJobs jobs(clock, {{"work", [&](const ImageRequest& request, const auto&, const auto&) {
                            EXPECT_EQ(request, kRequest);
                            ++runs;
                            return ImageProgress{
                                .layers = 3, .layers_here = 3, .done = 7, .total = 7};
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
  test::FakeClock clock;
  std::promise<void> may_end;
  std::promise<void> is_half;
  int runs = 0;
  ImageJobs jobs(clock, {{"work", [&](const ImageRequest&, const auto& progress, const auto&) {
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
  test::FakeClock clock;
  ImageJobs jobs(
      clock, {{"work", [](const ImageRequest&, const auto&, const auto&) -> Result<ImageProgress> {
                 return fail(Code::kNotFound, "no such image");
               }}});

  const auto state = jobs.ask("work", kRequest, minutes(1));

  EXPECT_TRUE(state.ended);
  EXPECT_EQ(state.error, "no such image");
  EXPECT_TRUE(jobs.has("work"));
  EXPECT_FALSE(jobs.has("another"));
}

// Tells each look at it. A job's end needs the lock under which ask() looks, until it waits.
class CountedClock final : public Clock {
 public:
  SteadyTime now() const override {
    looks_.release();
    return {};
  }
  WallTime wall() const override { return {}; }
  void wait_for_looks(int count) {
    for (int i = 0; i < count; ++i) looks_.acquire();
  }

 private:
  mutable std::counting_semaphore<> looks_{0};
};

TEST(ImageJobs, TellAFailureToEverybodyWhoWaits) {
  CountedClock clock;
  std::promise<void> may_end;
  std::promise<void> runs;
  ImageJobs jobs(
      clock, {{"work", [&](const ImageRequest&, const auto&, const auto&) -> Result<ImageProgress> {
                 runs.set_value();
                 may_end.get_future().wait();
                 return fail(Code::kNotFound, "gone");
               }}});
  EXPECT_FALSE(jobs.ask("work", kRequest, milliseconds(0)).ended);
  runs.get_future().wait();
  const auto wait = [&] { return jobs.ask("work", kRequest, minutes(1)); };
  auto first = std::async(std::launch::async, wait);
  auto second = std::async(std::launch::async, wait);
  clock.wait_for_looks(3);

  may_end.set_value();

  EXPECT_EQ(first.get().error, "gone");
  EXPECT_EQ(second.get().error, "gone");
}

TEST(ImageJobs, DoNotTellWhatEndedLongAgo) {
  test::FakeClock clock;
  std::promise<void> ended;
  int runs = 0;
  ImageJobs jobs(clock, {{"work", [&](const ImageRequest& request, const auto&, const auto&) {
                            if (request == kRequest) ++runs;
                            if (request != kRequest) ended.set_value();
                            return ImageProgress{};
                          }}});
  (void)jobs.ask("work", kRequest, milliseconds(0));
  ImageRequest other = kRequest;
  other.image = "registry/other:1";
  (void)jobs.ask("work", other, milliseconds(0));
  ended.get_future().wait();  // and so the first has ended too: there is one thread
  clock.advance(minutes(1));

  EXPECT_TRUE(jobs.ask("work", kRequest, minutes(1)).ended);

  EXPECT_EQ(runs, 2);
}

TEST(ImageJobs, DoNotBeginWhenTheNodeStops) {
  test::FakeClock clock;
  std::promise<void> may_end;
  std::promise<void> runs;
  int others = 0;
  ImageJobs jobs(clock, {{"work",
                          [&](const ImageRequest&, const auto&, const auto&) {
                            runs.set_value();
                            may_end.get_future().wait();
                            return ImageProgress{.layers = 1};
                          }},
                         {"other", [&](const ImageRequest&, const auto&, const auto&) {
                            ++others;
                            return ImageProgress{};
                          }}});
  (void)jobs.ask("work", kRequest, milliseconds(0));
  (void)jobs.ask("other", kRequest, milliseconds(0));
  runs.get_future().wait();

  jobs.stop(milliseconds(1));
  may_end.set_value();

  EXPECT_EQ(jobs.ask("work", kRequest, minutes(1)).error, "");
  EXPECT_EQ(jobs.ask("other", kRequest, minutes(1)).error, "the node stops");
  EXPECT_EQ(others, 0);
}

TEST(ImageJobs, AreToldThatTheNodeStops) {
  test::FakeClock clock;
  std::promise<void> runs;
  ImageJobs jobs(clock, {{"work",
                          [&](const ImageRequest&, const auto&,
                              const std::stop_token& stop) -> Result<ImageProgress> {
                            std::promise<void> told;
                            const std::stop_callback tell(stop, [&] { told.set_value(); });
                            runs.set_value();
                            told.get_future().wait();
                            return fail(Code::kCancelled, "nothing was changed");
                          }}});
  (void)jobs.ask("work", kRequest, milliseconds(0));
  runs.get_future().wait();

  jobs.stop(minutes(1));

  EXPECT_EQ(jobs.ask("work", kRequest, milliseconds(0)).error, "nothing was changed")
      << "it was waited for";
}

}  // namespace
}  // namespace runnel::node
