// Fetcher: where a registry sends it, and with which right it reads.
#include <fcntl.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <csignal>
#include <thread>

#include "base/durable.h"
#include "fetch/fetcher.h"
#include "support/fetcher_fixture.h"
#include "support/temp_dir.h"

namespace runnel::fetch {
namespace {

using namespace std::chrono_literals;
using test::FakeRegistry;
using test::Fault;
using test::ReadAnswer;

class FetcherAccess : public test::FetcherFixture {};

TEST_F(FetcherAccess, ReadsGoOnWhenAHostsFileCanBeFollowedAgain) {
  const test::TempDir hosts;
  const auto file = hosts.path() + "/" + registry_.host() + "/hosts.toml";
  ASSERT_TRUE(make_directories(hosts.path() + "/" + registry_.host()));
  ASSERT_TRUE(replace_file(file, as_bytes("server = \"https://harbor.example/v2/hub\"\n")));
  hosts_.set_directory(hosts.path());
  publish(1000);

  const auto refused = start(0, 10, Priority::kDemand, 50ms).wait();

  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().code, Code::kUnavailable);
  EXPECT_TRUE(refused.error().message.contains("a path other than /v2")) << refused.error().message;
  EXPECT_TRUE(registry_.seen().empty());

  ASSERT_TRUE(replace_file(file, as_bytes("server = \"http://" + registry_.host() + "\"\n")));
  expect_bytes(start(0, 10), 0, 10);
}

// A lease on the file holds up who opens it, as a disk does that hangs.
TEST_F(FetcherAccess, ReadsOfOtherRegistriesGoOnWhileAHostsFileCannotBeRead) {
  const test::TempDir hosts;
  const auto file = hosts.path() + "/refused.example/hosts.toml";
  ASSERT_TRUE(make_directories(hosts.path() + "/refused.example"));
  ASSERT_TRUE(replace_file(file, as_bytes("server = \"https://harbor.example/v2/hub\"\n")));
  hosts_.set_directory(hosts.path());
  publish(1000);
  const auto refused = fetcher().source("refused.example", "team/app", digest_, 1000);
  const UniqueFd held = *open_file(file, O_RDWR);
  std::signal(SIGIO, SIG_IGN);  // tells that somebody opens it
  ASSERT_EQ(::fcntl(held.get(), F_SETLEASE, F_WRLCK), 0);

  ReadAnswer late;
  const auto begun = std::chrono::steady_clock::now();
  refused->read(0, 10, Priority::kDemand, begun + 2s, late.done());
  while (::fcntl(held.get(), F_GETLEASE) == F_WRLCK) {  // when the file was last read is 1 s ago
    ASSERT_LT(std::chrono::steady_clock::now(), begun + 30s);
    std::this_thread::yield();
  }

  expect_bytes(start(0, 10, Priority::kDemand, 20s), 0, 10);
  const auto answer = late.wait();
  ASSERT_FALSE(answer);
  EXPECT_EQ(answer.error().code, Code::kUnavailable);
  EXPECT_TRUE(answer.error().message.contains("a path other than /v2")) << answer.error().message;
  EXPECT_EQ(::fcntl(held.get(), F_SETLEASE, F_UNLCK), 0);
}

// --- Redirects

TEST_F(FetcherAccess, KeepsARedirectUntilItIsRefused) {
  registry_.set({.redirect_blobs = true});
  publish(100'000);

  for (uint64_t i = 0; i < 5; ++i) expect_bytes(start(i * 1000, 10), i * 1000, 10);
  EXPECT_EQ(registry_.count("/blobs/"), 1u);
  EXPECT_EQ(registry_.count("/storage/"), 5u);

  registry_.expire_redirects();
  expect_bytes(start(50'000, 10), 50'000, 10);
  EXPECT_EQ(registry_.count("/blobs/"), 2u);
}

TEST_F(FetcherAccess, AsksTheRegistryAgainWhenARedirectIsOld) {
  options_.redirect_life = 0ms;
  registry_.set({.redirect_blobs = true});
  publish(1000);

  for (uint64_t i = 0; i < 3; ++i) expect_bytes(start(i * 100, 10), i * 100, 10);

  EXPECT_EQ(registry_.count("/blobs/"), 3u);
  EXPECT_EQ(registry_.count("/storage/"), 3u);
}

TEST_F(FetcherAccess, LeavesARedirectWhoseHostFailsAndTakesNoFailureForALoop) {
  registry_.set({.redirect_blobs = true});
  publish(1000);
  registry_.inject("/storage/", {.status = 500}, 8);

  expect_bytes(start(0, 10), 0, 10);

  EXPECT_EQ(registry_.count("/blobs/"), 9u) << "each time it may lead elsewhere";
}

TEST_F(FetcherAccess, SendsNoCredentialsWhereItIsRedirected) {
  know_user();
  registry_.set({.redirect_blobs = true, .auth = FakeRegistry::Auth::kBearer});
  publish(1000);

  expect_bytes(start(0, 10), 0, 10);

  EXPECT_EQ(registry_.seen().back().authorization, "");
  EXPECT_TRUE(registry_.seen().back().target.starts_with("/storage/"));
}

TEST_F(FetcherAccess, ARedirectThatIsAlwaysRefusedIsAnError) {
  registry_.set({.redirect_blobs = true});
  publish(1000);
  registry_.inject("/storage/", {.status = 403}, 1000);

  auto got = start(0, 10).wait();

  ASSERT_FALSE(got);
  EXPECT_EQ(got.error().code, Code::kDenied);
  EXPECT_LE(registry_.seen().size(), 8u);
}

TEST_F(FetcherAccess, ARedirectThatMustNotBeFollowedIsAnError) {
  publish(1000);
  registry_.inject("/blobs/", {.status = 307, .headers = {{"Location", "file:///etc/passwd"}}});
  EXPECT_EQ(start(0, 10).wait().error().code, Code::kInvalid);
  registry_.inject("/blobs/", {.status = 302, .headers = {{"Location", "?again"}}}, 1000);
  EXPECT_EQ(start(0, 10).wait().error().code, Code::kInvalid);
}

// --- Tokens

TEST_F(FetcherAccess, ManyFirstReadsShareOneToken) {
  know_user();
  registry_.set({.auth = FakeRegistry::Auth::kBearer});
  publish(1'000'000);
  std::vector<ReadAnswer> answers;
  for (uint64_t i = 0; i < 40; ++i) answers.push_back(start(i * 10'000, 100));

  for (uint64_t i = 0; i < 40; ++i) expect_bytes(answers[i], i * 10'000, 100);
  EXPECT_EQ(registry_.count("/token"), 1u);
}

TEST_F(FetcherAccess, RenewsATokenThatIsRefused) {
  know_user();
  registry_.set({.auth = FakeRegistry::Auth::kBearer});
  publish(1000);
  expect_bytes(start(0, 10), 0, 10);
  registry_.expire_tokens();

  expect_bytes(start(10, 10), 10, 10);

  EXPECT_EQ(registry_.count("/token"), 2u);
}

TEST_F(FetcherAccess, IsDeniedWithoutCredentials) {
  registry_.set({.auth = FakeRegistry::Auth::kBearer});
  publish(1000);

  auto got = start(0, 10).wait();

  ASSERT_FALSE(got);
  EXPECT_EQ(got.error().code, Code::kDenied);
  EXPECT_NE(got.error().message.find("UNAUTHORIZED: who are you"), std::string::npos)
      << got.error().message;
}

// A mistake of the registry, or of whatever stands before it.
TEST_F(FetcherAccess, OneRefusalForWantOfCredentialsFailsNobodyWhoWaits) {
  options_.max_in_flight = 1;
  publish(100'000);
  registry_.inject("/blobs/",
                   {.status = 401, .headers = {{"WWW-Authenticate", "Basic realm=\"x\""}}});
  std::vector<ReadAnswer> answers;
  for (uint64_t i = 0; i < 40; ++i) answers.push_back(start(i * 2000, 100));

  for (uint64_t i = 0; i < 40; ++i) expect_bytes(answers[i], i * 2000, 100);
}

TEST_F(FetcherAccess, OneRefusalOfTheTokenServerFailsNobodyWhoWaits) {
  options_.max_in_flight = 1;
  know_user();
  registry_.set({.auth = FakeRegistry::Auth::kBearer});
  registry_.inject("/token", {.status = 401}, 1);
  publish(100'000);
  std::vector<ReadAnswer> answers;
  for (uint64_t i = 0; i < 40; ++i) answers.push_back(start(i * 2000, 100));

  for (uint64_t i = 0; i < 40; ++i) expect_bytes(answers[i], i * 2000, 100);
}

TEST_F(FetcherAccess, TwoRefusalsFailAllWhoWait) {
  options_.max_in_flight = 1;
  registry_.set({.auth = FakeRegistry::Auth::kBasic});
  publish(100'000);
  std::vector<ReadAnswer> answers;
  for (uint64_t i = 0; i < 40; ++i) answers.push_back(start(i * 2000, 100));

  for (auto& answer : answers) EXPECT_EQ(answer.wait().error().code, Code::kDenied);
  EXPECT_EQ(registry_.seen().size(), 2u);
}

TEST_F(FetcherAccess, ATokenThatDoesNotHelpIsTriedOnce) {
  know_user();
  publish(1000);
  registry_.inject(
      "/blobs/",
      {.status = 401,
       .headers = {{"WWW-Authenticate", "Bearer realm=\"http://" + registry_.host() + "/token\""}}},
      1000);

  EXPECT_EQ(start(0, 10).wait().error().code, Code::kDenied);
  EXPECT_EQ(registry_.count("/blobs/"), 2u);
}

TEST_F(FetcherAccess, WaitsForATokenServerThatIsAway) {
  know_user();
  registry_.set({.auth = FakeRegistry::Auth::kBearer});
  registry_.inject("/token", {.status = 503}, 3);
  publish(1000);

  expect_bytes(start(0, 10), 0, 10);

  EXPECT_EQ(registry_.count("/token"), 4u);
}

TEST_F(FetcherAccess, ASlowTokenServerHoldsUpNoOtherRegistry) {
  constexpr size_t kRepositories = 8;
  FakeRegistry other;
  for (auto* registry : {&registry_, &other})
    registry->set({.auth = FakeRegistry::Auth::kBearer, .anonymous_pull = true});
  registry_.inject("/token", {.delay_ms = 300}, 1000);
  publish(1000);
  other.add_blob(bytes_);
  std::vector<std::shared_ptr<RangeSource>> sources;
  const auto read = [&](const std::string& host, const std::string& repository) {
    ReadAnswer answer;
    sources.push_back(fetcher().source(host, repository, digest_, 1000));
    sources.back()->read(0, 10, Priority::kDemand, std::chrono::steady_clock::now() + 30s,
                         answer.done());
    return answer;
  };
  std::vector<ReadAnswer> slow;
  for (size_t i = 0; i < kRepositories; ++i)
    slow.push_back(read(registry_.host(), fmt::format("team/app{}", i)));
  while (registry_.count("/token") == 0) std::this_thread::yield();

  expect_bytes(read(other.host(), "team/app"), 0, 10);

  EXPECT_LT(registry_.count("/token"), kRepositories) << "these are not waited for";
  for (auto& answer : slow) expect_bytes(std::move(answer), 0, 10);
}

}  // namespace
}  // namespace runnel::fetch
