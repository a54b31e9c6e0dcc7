// The real source over a real connection, and the fake one, held to the same rules.

#include "fetch/fetcher.h"
#include "support/anonymous.h"
#include "support/fake_range_source.h"
#include "support/fake_registry.h"
#include "support/range_source_conformance.h"

namespace runnel::fetch {
namespace {

class FakeFixture final : public test::RangeSourceFixture {
 public:
  std::shared_ptr<RangeSource> source(const std::string& bytes) override {
    source_ = std::make_shared<test::FakeRangeSource>(bytes);
    return source_;
  }
  void down() override { source_->fail(Error(Code::kUnavailable, "down")); }
  void stall() override { source_->hold(); }
  void up() override {
    source_->release();
    source_->succeed();
  }
  void refuse(Code code) override { source_->fail(Error(code, "refused")); }
  void shutdown() override { source_->shutdown(); }

 private:
  std::shared_ptr<test::FakeRangeSource> source_;
};

INSTANTIATE_TEST_SUITE_P(Fake, RangeSourceConformance,
                         testing::Values([] { return std::make_unique<FakeFixture>(); }));

class FetcherFixture final : public test::RangeSourceFixture {
 public:
  std::shared_ptr<RangeSource> source(const std::string& bytes) override {
    const auto digest = registry_.add_blob(bytes);
    return fetcher_.source(registry_.host(), "team/app", digest, bytes.size());
  }
  void down() override { registry_.stop(); }
  void stall() override { registry_.inject("/blobs/", {.stall = true}, 1'000'000); }
  void up() override {
    registry_.forget_faults();
    registry_.stop();
    registry_.start();
  }
  void refuse(Code code) override {
    registry_.inject("/blobs/", {.status = code == Code::kNotFound ? 404 : 403}, 1);
  }
  void shutdown() override { fetcher_.shutdown(); }

 private:
  test::FakeRegistry registry_;
  net::Client client_;
  SystemClock clock_;
  Fetcher fetcher_{std::make_shared<remote::Gateway>(client_, remote::Hosts(),
                                                     std::make_shared<test::Anonymous>(), clock_)};
};

INSTANTIATE_TEST_SUITE_P(Registry, RangeSourceConformance,
                         testing::Values([] { return std::make_unique<FetcherFixture>(); }));

TEST(FakeRangeSource, LiesWhenTold) {
  test::FakeRangeSource source("0123456789");
  source.corrupt(1);
  test::ReadAnswer wrong;
  test::ReadAnswer right;
  const SteadyTime deadline = std::chrono::steady_clock::now() + std::chrono::minutes(1);

  source.read(0, 4, Priority::kDemand, deadline, wrong.done());
  source.read(0, 4, Priority::kPrefetch, deadline, right.done());

  EXPECT_EQ(as_text(wrong.wait().value()), "0133");
  EXPECT_EQ(as_text(right.wait().value()), "0123");
  EXPECT_EQ(source.reads()[1].priority, Priority::kPrefetch);
}

}  // namespace
}  // namespace runnel::fetch
