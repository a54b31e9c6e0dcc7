#include "remote/authorizer.h"

#include <gtest/gtest.h>

#include <thread>

#include "remote/capability.h"
#include "remote/repository.h"
#include "remote/shown_credentials.h"
#include "support/anonymous.h"
#include "support/fake_clock.h"
#include "support/fake_registry.h"

namespace runnel::remote {
namespace {

using namespace std::chrono_literals;
using test::FakeRegistry;

class RemoteLogin : public ::testing::Test {
 protected:
  RemoteLogin() { registry_.add_manifest("team/app", "v1", kType, kManifest); }

  void require(FakeRegistry::Behaviour behaviour) { registry_.set(std::move(behaviour)); }
  void know(Credential credential) {
    credentials_ = std::make_shared<FixedCredential>(registry_.host(), std::move(credential));
  }
  void know_user() { know({.user = "user", .secret = Secret("password")}); }

  Repository repository(const std::string& name = "team/app") {
    return Repository(gateway(), registry_.host(), name);
  }
  std::shared_ptr<Gateway> gateway() {
    if (!gateway_) {
      GatewayOptions options;
      options.retry = {.attempts = 3, .first_delay = 1ms, .longest_delay = 5ms};
      gateway_ = std::make_shared<Gateway>(client_, Hosts(), credentials_, clock_, options);
    }
    return gateway_;
  }
  void expect_denied(std::string_view words) {
    auto got = repository().manifest("v1");
    ASSERT_FALSE(got);
    EXPECT_EQ(got.error().code, Code::kDenied);
    EXPECT_NE(got.error().message.find(words), std::string::npos) << got.error().message;
    EXPECT_EQ(got.error().message.find("secret"), std::string::npos);
  }

  static constexpr const char* kType = "application/vnd.oci.image.index.v1+json";
  static constexpr const char* kManifest = R"({"schemaVersion":2,"manifests":[]})";
  FakeRegistry registry_;
  net::Client client_;
  test::FakeClock clock_;
  std::shared_ptr<CredentialSource> credentials_ = std::make_shared<test::Anonymous>();

 private:
  std::shared_ptr<Gateway> gateway_;
};

TEST_F(RemoteLogin, SendsAPasswordOnlyWhenAsked) {
  know_user();
  ASSERT_TRUE(repository().manifest("v1"));
  EXPECT_EQ(registry_.seen().back().authorization, "");

  require({.auth = FakeRegistry::Auth::kBasic});
  ASSERT_TRUE(repository().manifest("v1"));
  EXPECT_EQ(registry_.seen().back().authorization, "Basic dXNlcjpwYXNzd29yZA==");

  registry_.forget_seen();
  ASSERT_TRUE(repository().manifest("v1"));
  EXPECT_EQ(registry_.seen().size(), 1u) << "the second request knows what to send";
}

TEST_F(RemoteLogin, GetsATokenOnceForManyRequests) {
  require({.auth = FakeRegistry::Auth::kBearer});
  know_user();

  for (int i = 0; i < 5; ++i) ASSERT_TRUE(repository().manifest("v1"));

  EXPECT_EQ(registry_.count("/token"), 1u);
  EXPECT_EQ(registry_.seen().size(), 1u + 1u + 5u);
}

TEST_F(RemoteLogin, NeedsNoUserWhereAnyoneMayPull) {
  require({.auth = FakeRegistry::Auth::kBearer, .anonymous_pull = true});

  EXPECT_TRUE(repository().manifest("v1"));
  auto pushed = repository().push_manifest("v2", kType, as_bytes(kManifest));
  ASSERT_FALSE(pushed);
  EXPECT_EQ(pushed.error().code, Code::kDenied);
}

TEST_F(RemoteLogin, AsksForAnotherTokenBeforeItsFirstRequest) {
  require({.auth = FakeRegistry::Auth::kBearer});
  know_user();
  registry_.add_manifest("team/other", "v1", kType, kManifest);
  ASSERT_TRUE(repository().manifest("v1"));
  registry_.forget_seen();

  ASSERT_TRUE(repository("team/other").manifest("v1"));

  EXPECT_EQ(registry_.seen().size(), 2u);
  EXPECT_EQ(registry_.count("scope=repository%3Ateam%2Fother%3Apull"), 1u);
}

TEST_F(RemoteLogin, RenewsATokenBeforeItExpires) {
  require({.auth = FakeRegistry::Auth::kBearer, .token_seconds = 100});
  know_user();
  ASSERT_TRUE(repository().manifest("v1"));

  clock_.advance(70s);
  ASSERT_TRUE(repository().manifest("v1"));
  EXPECT_EQ(registry_.count("/token"), 1u);
  clock_.advance(10s);
  ASSERT_TRUE(repository().manifest("v1"));
  EXPECT_EQ(registry_.count("/token"), 2u);
}

TEST_F(RemoteLogin, KeepsUsingATokenThatHoldsWhileTheServerIsAway) {
  require({.auth = FakeRegistry::Auth::kBearer, .token_seconds = 100});
  know_user();
  ASSERT_TRUE(repository().manifest("v1"));
  registry_.inject("/token", {.status = 503}, 1000);

  clock_.advance(80s);
  EXPECT_TRUE(repository().manifest("v1"));
  clock_.advance(30s);
  EXPECT_EQ(repository().manifest("v1").error().code, Code::kUnavailable);
}

TEST_F(RemoteLogin, ReplacesATokenThatTheRegistryNoLongerTakes) {
  require({.auth = FakeRegistry::Auth::kBearer});
  know_user();
  ASSERT_TRUE(repository().manifest("v1"));
  registry_.expire_tokens();

  EXPECT_TRUE(repository().manifest("v1"));
  EXPECT_EQ(registry_.count("/token"), 2u);
}

TEST_F(RemoteLogin, UsesAnIdentityTokenWithPostOrGet) {
  for (const bool post : {true, false}) {
    require({.auth = FakeRegistry::Auth::kBearer, .oauth_post = post});
    know({.user = "", .secret = Secret("identity"), .kind = Credential::Kind::kIdentityToken});
    registry_.expire_tokens();
    registry_.forget_seen();

    auto got = repository().manifest("v1");

    ASSERT_TRUE(got) << got.error().message;
    EXPECT_EQ(registry_.count("POST /token"), 1u);
    EXPECT_EQ(registry_.count("GET /token"), post ? 0u : 1u);
  }
}

// What a pod's client showed: a token, and nobody knows where it came from.
class LoneToken : public RemoteLogin {
 protected:
  LoneToken() { credentials_ = shown_; }

  void show(const std::string& token) {
    shown_->show(registry_.host(), "team/app",
                 {.user = {}, .secret = Secret(token), .kind = Credential::Kind::kBearer});
  }
  void pull(const std::string& image) { shown_->saw_image(registry_.host(), "team/app", image); }
  Credential kept() { return shown_->find(registry_.host(), "team/app").value().value(); }

  const std::shared_ptr<ShownCredentials> shown_ = std::make_shared<ShownCredentials>(clock_);
};

TEST_F(LoneToken, IsExchangedForADayAtARegistryOfOurs) {
  require({.auth = FakeRegistry::Auth::kBearer, .exchanges = true});
  show(registry_.token_for("repository:team/app:pull"));
  pull("sha256:one");

  ASSERT_TRUE(repository().manifest("v1"));

  EXPECT_EQ(kept().images, std::vector<std::string>{"sha256:one"});
  EXPECT_EQ(kept().kind, Credential::Kind::kIdentityToken);
  EXPECT_EQ(kept().expires, clock_.wall() + 24h);
  registry_.expire_tokens();
  clock_.advance(1h);
  EXPECT_TRUE(repository().manifest("v1"));
  EXPECT_EQ(registry_.count("/oauth2/exchange"), 1u);
  clock_.advance(24h);
  EXPECT_FALSE(repository().manifest("v1"));

  show(registry_.token_for("repository:team/app:pull"));
  EXPECT_TRUE(repository().manifest("v1"))
      << "a day that is over does not stand in a new one's way";
}

TEST_F(LoneToken, IsExchangedAsSoonAsItsImageIsKnown) {
  require({.auth = FakeRegistry::Auth::kBearer, .exchanges = true});
  show(registry_.token_for("repository:team/app:pull"));
  ASSERT_TRUE(repository().manifest("v1"));
  EXPECT_EQ(registry_.count("/oauth2/exchange"), 0u);
  pull("sha256:one");
  clock_.advance(2s);

  ASSERT_TRUE(repository().manifest("v1"));

  EXPECT_EQ(registry_.count("/oauth2/exchange"), 1u);
}

TEST_F(LoneToken, OfTheNextImageIsExchangedForBoth) {
  require({.auth = FakeRegistry::Auth::kBearer, .exchanges = true});
  show(registry_.token_for("repository:team/app:pull"));
  pull("sha256:one");
  ASSERT_TRUE(repository().manifest("v1"));
  show(registry_.token_for("repository:team/app:pull"));
  pull("sha256:two");
  registry_.expire_tokens();  // as one that is refused for the second image
  show(registry_.token_for("repository:team/app:pull"));

  ASSERT_TRUE(repository().manifest("v1"));

  EXPECT_EQ(registry_.count("/oauth2/exchange"), 2u);
  EXPECT_EQ(kept().images, (std::vector<std::string>{"sha256:one", "sha256:two"}));
}

TEST_F(LoneToken, IsUsedAsItIsElsewhereAndNotSentToWhatLooksLikeATokenServer) {
  require({.auth = FakeRegistry::Auth::kBearer});
  const auto token = registry_.token_for("repository:team/app:pull");
  show(token);
  pull("sha256:one");

  ASSERT_TRUE(repository().manifest("v1"));

  EXPECT_EQ(kept().secret.reveal(), token);
  EXPECT_EQ(registry_.count("/oauth2/exchange"), 0u);
}

TEST_F(LoneToken, IsUsedAsItIsWhenTheExchangeIsNotKnown) {
  require({.auth = FakeRegistry::Auth::kBearer, .exchanges = true});
  registry_.inject("/oauth2/exchange", {.status = 404});
  const auto token = registry_.token_for("repository:team/app:pull");
  show(token);
  pull("sha256:one");

  ASSERT_TRUE(repository().manifest("v1"));

  EXPECT_EQ(kept().secret.reveal(), token);
}

TEST(ExchangeAddress, IsTheRegistrysOwnAndAtItsRoot) {
  Endpoint registry;
  registry.url = "https://registry.example";

  EXPECT_EQ(exchange_address(registry, "https://registry.example/oauth2/token"),
            "https://registry.example/oauth2/exchange");
  EXPECT_EQ(exchange_address(registry, "https://auth.example/oauth2/token"), std::nullopt);
  EXPECT_EQ(exchange_address(registry, "http://registry.example/oauth2/token"), std::nullopt);
  EXPECT_EQ(exchange_address(registry, "https://registry.example/a/oauth2/token"), std::nullopt);
  EXPECT_EQ(exchange_address(registry, "https://registry.example/token"), std::nullopt);
}

TEST_F(RemoteLogin, ManyThreadsShareOneToken) {
  require({.auth = FakeRegistry::Auth::kBearer});
  know_user();
  const Repository one = repository();
  std::atomic<int> good = 0;

  std::vector<std::jthread> threads;
  threads.reserve(8);
  for (int i = 0; i < 8; ++i)
    threads.emplace_back([&] { good += one.manifest("v1").has_value() ? 1 : 0; });
  threads.clear();

  EXPECT_EQ(good, 8);
  EXPECT_EQ(registry_.count("/token"), 1u);
}

TEST_F(RemoteLogin, MountsAskForBothRepositories) {
  require({.auth = FakeRegistry::Auth::kBearer});
  know_user();
  const auto digest = registry_.add_blob("x");

  ASSERT_TRUE(repository().mount_blob(digest, "other/app"));

  EXPECT_EQ(registry_.count("scope=repository%3Ateam%2Fapp%3Apull%2Cpush&"
                            "scope=repository%3Aother%2Fapp%3Apull"),
            1u);
}

TEST_F(RemoteLogin, ARefusalSaysWhoWasRefused) {
  require({.auth = FakeRegistry::Auth::kBearer});
  know({.user = "user", .secret = Secret("secret")});
  expect_denied("user \"user\", scope repository:team/app:pull: UNAUTHORIZED: who are you");
}

TEST_F(RemoteLogin, AWrongPasswordIsTriedOnce) {
  require({.auth = FakeRegistry::Auth::kBasic});
  know({.user = "user", .secret = Secret("secret")});
  expect_denied("UNAUTHORIZED: log in first");
  EXPECT_LE(registry_.seen().size(), 2u);
}

TEST_F(RemoteLogin, MissingCredentialsAreNamed) {
  require({.auth = FakeRegistry::Auth::kBasic});
  expect_denied("wants a user and password, and none are known");
}

class BrokenSource final : public CredentialSource {
 public:
  Result<std::optional<Credential>> find(std::string_view, std::string_view) override {
    return fail(Code::kUnavailable, "the helper crashed");
  }
};

TEST_F(RemoteLogin, ARegistryThatStopsAskingForCredentialsIsUsedAgain) {
  for (const auto kind : {FakeRegistry::Auth::kBasic, FakeRegistry::Auth::kBearer}) {
    require({.auth = kind});
    ASSERT_FALSE(repository().manifest("v1"));
    ASSERT_FALSE(repository().manifest("v1"));

    require({});
    EXPECT_TRUE(repository().manifest("v1"));
  }
}

TEST_F(RemoteLogin, ASourceThatFailsIsNamedInTheRefusal) {
  require({.auth = FakeRegistry::Auth::kBearer});
  credentials_ = std::make_shared<BrokenSource>();
  expect_denied("without credentials: the helper crashed");

  require({.auth = FakeRegistry::Auth::kBearer, .anonymous_pull = true});
  EXPECT_TRUE(repository().manifest("v1")) << "and does no harm where none are needed";
}

TEST_F(RemoteLogin, AChallengeWithoutAWayInIsARefusal) {
  registry_.inject("/v2/", {.status = 401, .headers = {{"WWW-Authenticate", "Digest realm=x"}}});
  expect_denied("without a Bearer or Basic challenge");
}

TEST_F(RemoteLogin, APasswordIsNotSentToAnAddressThatTheRegistryMustNotName) {
  know_user();
  registry_.inject(
      "/v2/",
      {.status = 401, .headers = {{"WWW-Authenticate", "Bearer realm=\"ftp://127.0.0.1/token\""}}});
  auto got = repository().manifest("v1");
  ASSERT_FALSE(got);
  EXPECT_NE(got.error().message.find("token server"), std::string::npos) << got.error().message;
}

TEST_F(RemoteLogin, ATokenThatCannotBeAHeaderIsRefused) {
  require({.auth = FakeRegistry::Auth::kBearer});
  know_user();
  for (const char* answer : {"", "{}", "[]", R"({"token": 5})", R"({"token": "a\r\nX: y"})"}) {
    registry_.inject("/token", {.status = 200, .body = answer});
    auto got = repository().manifest("v1");

    ASSERT_FALSE(got) << answer;
    EXPECT_EQ(got.error().code, Code::kInvalid) << got.error().message;
  }
  EXPECT_TRUE(repository().manifest("v1"));
}

}  // namespace
}  // namespace runnel::remote
