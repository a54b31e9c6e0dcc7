#include "mirror/token_desk.h"

#include <gtest/gtest.h>

#include <boost/json.hpp>

#include "base/base64.h"
#include "base/durable.h"
#include "mirror/mirror.h"
#include "remote/challenge.h"
#include "support/fake_registry.h"
#include "support/temp_dir.h"

namespace runnel::mirror {
namespace {

using remote::Credential;
using remote::Secret;

constexpr const char* kType = "application/vnd.oci.image.manifest.v1+json";

class Blind final : public Observer {
 public:
  void manifest_named(const NamedManifest&) override {}
  void manifest_seen(const SeenManifest&) override {}
};

// A mirror in front of a registry with a token server, and a client that does as containerd does.
class TokenDeskTest : public testing::Test {
 protected:
  void SetUp() override {
    behaviour_.auth = test::FakeRegistry::Auth::kBearer;
    registry_.set(behaviour_);
    registry_.add_manifest("team/app", "v1", kType, "{}");
    server_ = net::Server::listen({}, mirror_).value();
    base_ = "http://127.0.0.1:" + std::to_string(server_->port());
  }

  net::BufferedResponse get(const std::string& url, const std::string& authorization = "") {
    net::ClientRequest request(url);
    if (!authorization.empty()) request.headers.set("Authorization", authorization);
    return client_.fetch(std::move(request), 1 << 20).value();
  }
  net::BufferedResponse post(const std::string& url, const std::string& form) {
    net::ClientRequest request("POST", url);
    request.body = form;
    return client_.fetch(std::move(request), 1 << 20).value();
  }
  std::string manifest_url() const {
    return base_ + "/v2/team/app/manifests/v1?ns=" + registry_.host();
  }
  // The realm of a 401 of the mirror.
  std::string realm() {
    const auto refused = get(manifest_url());
    EXPECT_EQ(refused.head.status, 401);
    const auto line = refused.head.headers.first("WWW-Authenticate").value_or("");
    const auto challenges = remote::parse_challenges(line).value();
    return std::string(challenges.at(0).parameter("realm"));
  }
  static std::string token_of(const net::BufferedResponse& answer) {
    EXPECT_EQ(answer.head.status, 200) << as_text(answer.body);
    if (answer.head.status != 200) return {};
    return std::string(boost::json::parse(as_text(answer.body)).at("token").as_string());
  }
  static std::string basic(const std::string& pair) { return "Basic " + to_base64(pair); }
  std::optional<Credential> shown(const std::string& repository = "team/app") {
    return shown_.find(registry_.host(), repository).value();
  }

  net::Client client_;
  remote::Hosts hosts_;
  Blind blind_;
  SystemClock clock_;
  remote::ShownCredentials shown_{clock_};
  test::FakeRegistry registry_;
  test::FakeRegistry::Behaviour behaviour_;
  Mirror mirror_{client_, hosts_, blind_, shown_, [] { return std::string("{}"); }};
  std::unique_ptr<net::Server> server_;
  std::string base_;
  const std::string scope_ = "&service=fake&scope=repository%3Ateam%2Fapp%3Apull";
};

TEST_F(TokenDeskTest, IsTheRealmOfTheMirrorsRefusals) {
  const auto own = realm();

  EXPECT_TRUE(own.starts_with(base_ + "/v2/_runnel/token?ns=127.0.0.1")) << own;
}

TEST_F(TokenDeskTest, GetsTheClientItsTokenAndKeepsWhatTheRegistryTook) {
  const auto token = token_of(get(realm() + scope_, basic("user:password")));
  EXPECT_FALSE(shown()) << "the registry has not taken it yet";

  const auto manifest = get(manifest_url(), "Bearer " + token);

  EXPECT_EQ(manifest.head.status, 200);
  ASSERT_TRUE(shown());
  EXPECT_EQ(shown()->user, "user");
  EXPECT_EQ(shown()->secret.reveal(), "password");
  EXPECT_FALSE(shown("team/other")) << "it is for that repository only";
}

TEST_F(TokenDeskTest, TakesIdentityTokensByPost) {
  const auto answer = post(realm(),
                           "grant_type=refresh_token&service=fake&scope=repository%3Ateam"
                           "%2Fapp%3Apull&refresh_token=identity");

  EXPECT_EQ(get(manifest_url(), "Bearer " + token_of(answer)).head.status, 200);
  ASSERT_TRUE(shown());
  EXPECT_EQ(shown()->kind, Credential::Kind::kIdentityToken);
}

TEST_F(TokenDeskTest, TakesIdentityTokensWhereTheRegistrysServerKnowsNoPost) {
  behaviour_.oauth_post = false;
  registry_.set(behaviour_);

  const auto answer = post(realm(),
                           "grant_type=refresh_token&service=fake&scope=repository%3Ateam"
                           "%2Fapp%3Apull&refresh_token=identity");

  EXPECT_FALSE(token_of(answer).empty());
}

TEST_F(TokenDeskTest, TakesPasswordsByPost) {
  const auto answer = post(realm(),
                           "grant_type=password&service=fake&scope=repository%3Ateam%2Fapp"
                           "%3Apull&username=user&password=password");

  EXPECT_EQ(get(manifest_url(), "Bearer " + token_of(answer)).head.status, 200);
  ASSERT_TRUE(shown());
  EXPECT_EQ(shown()->user, "user");
}

TEST_F(TokenDeskTest, RefusesAWrongPasswordAndKeepsNothing) {
  const auto answer = get(realm() + scope_, basic("user:wrong"));

  EXPECT_EQ(answer.head.status, 401);
  EXPECT_EQ(as_text(answer.body).find("wrong"), std::string_view::npos);
  EXPECT_FALSE(shown());
}

TEST_F(TokenDeskTest, KeepsNothingOfAnAnonymousToken) {
  behaviour_.anonymous_pull = true;
  registry_.set(behaviour_);

  const auto token = token_of(get(realm() + scope_));

  EXPECT_EQ(get(manifest_url(), "Bearer " + token).head.status, 200);
  EXPECT_FALSE(shown());
}

TEST_F(TokenDeskTest, AsksTheRegistryForItsRealmWhenItHasNotSeenIt) {
  const auto url = base_ + std::string(TokenDesk::kPath) + "?ns=" + registry_.host() + scope_;

  EXPECT_FALSE(token_of(get(url, basic("user:password"))).empty());
}

TEST_F(TokenDeskTest, SendsAPasswordNowhereWhenTheHostsFileCannotBeFollowed) {
  const test::TempDir hosts;
  ASSERT_TRUE(make_directories(hosts.path() + "/" + registry_.host()));
  ASSERT_TRUE(replace_file(hosts.path() + "/" + registry_.host() + "/hosts.toml",
                           as_bytes("server = \"https://harbor.example/v2/hub\"\n")));
  hosts_.set_directory(hosts.path());
  const auto url = base_ + std::string(TokenDesk::kPath) + "?ns=" + registry_.host() + scope_;

  const auto answer = get(url, basic("user:password"));

  EXPECT_EQ(answer.head.status, 503);
  EXPECT_TRUE(registry_.seen().empty());
}

TEST_F(TokenDeskTest, KeepsATokenThatCameFromElsewhereAsAToken) {
  const auto direct = get("http://" + registry_.host() +
                              "/token?service=fake&scope=" + "repository%3Ateam%2Fapp%3Apull",
                          basic("user:password"));
  const auto token = token_of(direct);

  EXPECT_EQ(get(manifest_url(), "Bearer " + token).head.status, 200);

  ASSERT_TRUE(shown());
  EXPECT_EQ(shown()->kind, Credential::Kind::kBearer);
}

TEST_F(TokenDeskTest, KeepsBasicCredentialsOfARegistryWithoutTokens) {
  behaviour_.auth = test::FakeRegistry::Auth::kBasic;
  registry_.set(behaviour_);

  EXPECT_EQ(get(manifest_url(), basic("user:wrong")).head.status, 401);
  EXPECT_FALSE(shown());
  EXPECT_EQ(get(manifest_url(), basic("user:password")).head.status, 200);

  ASSERT_TRUE(shown());
  EXPECT_EQ(shown()->user, "user");
}

TEST_F(TokenDeskTest, AnswersNonsenseWithAnError) {
  const auto url = base_ + std::string(TokenDesk::kPath);

  EXPECT_EQ(get(url).head.status, 400) << "no ns";
  EXPECT_EQ(get(url + "?ns=" + registry_.host(), "Bearer x").head.status, 400);
  EXPECT_EQ(get(url + "?ns=" + registry_.host(), "Basic %%").head.status, 400);
  EXPECT_EQ(post(url + "?ns=" + registry_.host(), "grant_type=client_credentials").head.status,
            400);
  EXPECT_EQ(post(url + "?ns=" + registry_.host(), std::string(100'000, 'a')).head.status, 400);
}

}  // namespace
}  // namespace runnel::mirror
