// Who may do what, over HTTP.
#include <gtest/gtest.h>
#include <poll.h>

#include <deque>

#include "meta/sqlite.h"
#include "support/guarded_registry_fixture.h"
#include "support/raw_socket.h"

namespace runnel::registry {
namespace {

namespace json = boost::json;
using net::Header;
using test::Answered;
using test::kPeople;

// At a cost that takes a quarter of a second.
constexpr const char* kSlow = "slow:$2y$12$abcdefghijklmnopqrstuuKwIlPvyLlw8e74Johhjece.ndnfSP1S\n";

class Auth : public test::GuardedRegistryFixture {};

TEST_F(Auth, AsksWhoOneIsAndSaysWhereToGetAToken) {
  const auto answer = get("/v2/");

  EXPECT_EQ(answer.status, 401);
  EXPECT_EQ(answer.body,
            R"({"errors":[{"code":"UNAUTHORIZED","message":"authentication required, visit )"
            R"(https://aka.ms/acr/authorization for more information.","detail":null}]})");
  const auto host = fmt::format("127.0.0.1:{}", registry_->port());
  EXPECT_EQ(answer.header("WWW-Authenticate"),
            fmt::format("Bearer realm=\"http://{0}/oauth2/token\",service=\"{0}\"", host));
  EXPECT_EQ(as("reader", "GET", "/v2/").status, 200);
}

TEST_F(Auth, NamesItselfAsConfiguredBehindAProxy) {
  registry_.reset();
  config_.external_url = "https://registry.example";
  start();

  EXPECT_EQ(get("/v2/").header("WWW-Authenticate"),
            "Bearer realm=\"https://registry.example/oauth2/token\",service=\"registry.example\"");
}

// Whatever name the proxy uses: none of what is answered has it, and what leads on is relative.
TEST_F(Auth, SaysNothingOfItsInnerNameBehindAProxy) {
  registry_.reset();
  config_.external_url = "https://registry.example";
  start();
  const auto inner = fmt::format("127.0.0.1:{}", registry_->port());
  push_tag("owner", "team/app", "v1");
  push_tag("owner", "team/app", "v2");
  const auto begun = as("owner", "POST", "/v2/team/app/blobs/uploads/");
  ASSERT_EQ(as("owner", "DELETE", "/v2/team/app/manifests/v2").status, 202);

  const std::vector<Answered> answers = {
      begun,
      as("owner", "GET", begun.header("Location")),
      as("owner", "PUT", begun.header("Location") + "?digest=" + oci::Digest::of({}).to_string()),
      push_tag("owner", "team/app", "v3"),
      as("owner", "GET", "/v2/team/app/tags/list?n=1"),
      as("owner", "GET", "/v2/_catalog?n=1"),
      as("owner", "GET", "/runnel/v1/_soft-delete?n=1"),
      as("owner", "GET", "/acr/v1/team/app"),
      as("owner", "GET", "/acr/v1/team/app/_tags/v1"),
      get("/v2/team/app/manifests/v1"),
      get("/oauth2/token?service=x&scope=repository:public/x:pull"),
      as("reader", "POST", "/v2/team/app/blobs/uploads/"),
  };

  for (const auto& answer : answers) {
    EXPECT_LT(answer.status, 500);
    EXPECT_EQ(answer.body.find(inner), std::string::npos) << answer.body;
    for (const auto* name : {"Location", "Link", "WWW-Authenticate"})
      EXPECT_EQ(answer.header(name).find(inner), std::string::npos) << answer.header(name);
    const auto location = answer.header("Location");
    EXPECT_TRUE(location == "(none)" || location.starts_with("/")) << location;
    const auto link = answer.header("Link");
    EXPECT_TRUE(link == "(none)" || link.starts_with("</")) << link;
  }
  EXPECT_NE(answers[7].body.find("\"registry\":\"registry.example\""), std::string::npos);
}

TEST_F(Auth, RefusesWrongPasswordsAndStrangers) {
  const auto wrong =
      send("GET", "/v2/", {}, {Header("Authorization", "Basic " + to_base64("reader:wrong"))});
  EXPECT_EQ(wrong.status, 401);
  EXPECT_NE(wrong.header("WWW-Authenticate").find("error=\"invalid_token\""), std::string::npos);
  for (const std::string& value :
       std::vector<std::string>{"Basic", "Basic !!!", "Bearer", "Bearer x.y.z", "Digest abc",
                                "Basic " + to_base64("nocolon")})
    EXPECT_EQ(send("GET", "/v2/", {}, {Header("Authorization", value)}).status, 401) << value;
  EXPECT_EQ(send("GET", "/v2/", {}, {basic("nobody")}).status, 401);
  EXPECT_EQ(send("GET", "/v2/", {}, {basic("reader"), basic("owner")}).status, 401);
}

TEST_F(Auth, RefusesGuessesAtChangingNamesAndLetsWhoIsKnownGoOn) {
  registry_.reset();
  config_.limits.failed_logins_per_address = 5;
  start();
  ASSERT_EQ(as("reader", "GET", "/v2/").status, 200);
  for (int i = 0; i < 5; ++i)
    EXPECT_EQ(send("GET", "/v2/", {}, {basic(std::to_string(i), "guess")}).status, 401);

  const auto late = send("GET", "/v2/", {}, {basic("5", "guess")});

  EXPECT_EQ(late.status, 429);
  EXPECT_NE(late.header("Retry-After"), "(none)");
  EXPECT_EQ(as("reader", "GET", "/v2/").status, 200);
}

TEST_F(Auth, LetsNoTokenWaitForPeoplesPasswords) {
  ASSERT_TRUE(replace_file(config_.auth.htpasswd, as_bytes(std::string(kPeople) + kSlow), 0600));
  restart();
  ASSERT_EQ(
      as("owner", "PUT", "/runnel/v1/_tokens/ci", R"({"scopeMap":"_repositories_pull"})").status,
      200);
  const auto password = member(
      as("owner", "POST", "/runnel/v1/_tokens/ci:generate", R"({"name":"password1"})"), "value");
  const auto refresh =
      member(as("owner", "GET", "/oauth2/token?service=x&offline_token=true"), "refresh_token");
  std::deque<test::RawSocket> guessing;
  for (int i = 0; i < 8; ++i)
    guessing.emplace_back(registry_->port())
        .send(fmt::format("GET /v2/ HTTP/1.1\r\nHost: x\r\nAuthorization: {}\r\n\r\n",
                          basic("slow", "guess").value));

  EXPECT_EQ(send("GET", "/v2/", {}, {basic("ci", password)}).status, 200);
  EXPECT_EQ(send("GET", "/v2/", {}, {basic("<token>", refresh)}).status, 200);

  // The guesses, which came first, are not through yet.
  pollfd last{.fd = guessing.back().fd(), .events = POLLIN, .revents = 0};
  EXPECT_EQ(::poll(&last, 1, 0), 0);
}

TEST_F(Auth, LetsEveryonePullWhatIsPublicAndNothingElse) {
  const auto open = blob_of("public/app", "free");
  const auto closed = blob_of("team/app", "secret");

  EXPECT_EQ(get("/v2/public/app/blobs/" + open).status, 200);
  EXPECT_EQ(send("HEAD", "/v2/public/app/blobs/" + open).status, 200);
  EXPECT_EQ(get("/v2/team/app/blobs/" + closed).status, 401);
  EXPECT_EQ(get("/v2/team/absent/blobs/" + closed).status, 401);
  EXPECT_EQ(send("POST", "/v2/public/app/blobs/uploads/").status, 401);
  EXPECT_EQ(get("/v2/_catalog").status, 401);
  // The link of the repository counts, not that the registry has the bytes.
  EXPECT_EQ(get("/v2/public/app/blobs/" + closed).status, 404);
}

TEST_F(Auth, AnswersForWhatOneMayNotSeeAsForWhatIsAbsent) {
  const auto digest = blob_of("other/app", "secret");
  ASSERT_EQ(push_tag("owner", "other/app", "v1").status, 201);
  const auto without = [](std::string text, const std::string& name) {
    for (size_t at; (at = text.find(name)) != std::string::npos;)
      text.replace(at, name.size(), "R");
    return text;
  };

  for (const std::string& what : std::vector<std::string>{"/blobs/" + digest, "/manifests/v1",
                                                          "/tags/list", "/referrers/" + digest})
    for (const auto* method : {"GET", "HEAD"}) {
      const auto there = as("reader", method, "/v2/other/app" + what);
      const auto absent = as("reader", method, "/v2/not/there" + what);
      EXPECT_EQ(there.status, absent.status) << method << what;
      EXPECT_EQ(without(there.body, "other/app"), without(absent.body, "not/there"));
      EXPECT_EQ(there.header("Content-Length") == "(none)",
                absent.header("Content-Length") == "(none)");
    }
  EXPECT_EQ(as("reader", "DELETE", "/v2/other/app/manifests/v1").status, 404);
  EXPECT_EQ(as("reader", "GET", "/v2/other/app/referrers/" + digest).status, 200);
}

TEST_F(Auth, SaysWhichRuleDeniesAPush) {
  const auto answer = as("reader", "POST", "/v2/team/app/blobs/uploads/");

  EXPECT_EQ(answer.status, 403);
  EXPECT_EQ(code(answer), "DENIED");
  const auto detail = json::parse(answer.body).at("errors").at(0).at("detail");
  EXPECT_EQ(detail.at("principal").as_string(), "user:reader");
  EXPECT_EQ(detail.at("needs").as_string(), "content/write");
  EXPECT_EQ(detail.at("rule").as_string(),
            "the roles or the scope map of user:reader give it \"pull\" in team/app");
}

TEST_F(Auth, KeepsPushingAndDeletingApart) {
  ASSERT_EQ(push_tag("writer", "team/app", "v1").status, 201);

  EXPECT_EQ(as("writer", "DELETE", "/v2/team/app/manifests/v1").status, 403);
  EXPECT_EQ(as("reader", "DELETE", "/v2/team/app/manifests/v1").status, 403);
  EXPECT_EQ(as("owner", "DELETE", "/v2/team/app/manifests/v1").status, 202);
}

TEST_F(Auth, TakesStreamingArtifactsFromConvertersOnly) {
  const std::string type(oci::kStreamingArtifactHere);

  const auto refused = push_tag("writer", "team/app", "a", type);
  EXPECT_EQ(refused.status, 403);
  EXPECT_NE(refused.body.find("content/convert, which the role Converter has"), std::string::npos);
  EXPECT_EQ(
      push_tag("writer", "team/app", "a", std::string(oci::kStreamingArtifactElsewhere)).status,
      403);
  EXPECT_EQ(push_tag("converter", "team/app", "a", type).status, 201);
  EXPECT_EQ(push_tag("writer", "team/app", "b", "application/vnd.example").status, 201);
}

// How a client asks for the right before it makes an artifact (convert::check_rights).
TEST_F(Auth, SaysOfAnArtifactUnderAWrongDigestFirstThatTheRightLacks) {
  auto made = image({});
  made.artifact_type = std::string(oci::kStreamingArtifactHere);
  const auto ask = [&](const std::string& user) {
    return send("PUT", "/v2/team/app/manifests/" + oci::Digest::of({}).to_string(),
                oci::to_json(made),
                {basic(user), Header("Content-Type", std::string(oci::kOciManifest))});
  };

  const auto refused = ask("writer");
  EXPECT_EQ(refused.status, 403);
  EXPECT_NE(refused.body.find("content/convert, which the role Converter has"), std::string::npos);
  const auto allowed = ask("converter");
  EXPECT_EQ(allowed.status, 400);
  EXPECT_EQ(code(allowed), "DIGEST_INVALID");
}

TEST_F(Auth, MountsOnlyFromWhereOneMayRead) {
  const auto secret = blob_of("other/app", "secret");
  const auto shared = blob_of("public/base", "shared");
  const auto mount = [&](const std::string& digest, const std::string& from) {
    return as("writer", "POST",
              "/v2/team/app/blobs/uploads/?mount=" + digest + (from.empty() ? "" : "&from=" + from))
        .status;
  };

  EXPECT_EQ(mount(secret, "other/app"), 202);
  EXPECT_EQ(mount(secret, ""), 202);
  EXPECT_EQ(as("writer", "HEAD", "/v2/team/app/blobs/" + secret).status, 404);
  EXPECT_EQ(mount(shared, "public/base"), 201);
  EXPECT_EQ(mount(shared, ""), 201);
}

TEST_F(Auth, BindsAnUploadToWhoBeganIt) {
  const auto location = as("writer", "POST", "/v2/team/app/blobs/uploads/").header("Location");

  for (const auto* method : {"GET", "PATCH", "PUT", "DELETE"}) {
    const auto target = location + "?digest=" + oci::Digest::of({}).to_string();
    const auto answer = as("converter", method, target);
    EXPECT_EQ(answer.status, 404) << method << answer.body;
  }
  EXPECT_EQ(as("writer", "GET", location).status, 204);
}

TEST_F(Auth, ListsOnlyWhatOneMaySee) {
  blob_of("team/a", "x");
  blob_of("other/a", "x");
  blob_of("public/a", "x");

  EXPECT_EQ(as("reader", "GET", "/v2/_catalog").body, R"({"repositories":["public/a","team/a"]})");
  const auto page = as("reader", "GET", "/v2/_catalog?n=1");
  EXPECT_EQ(page.body, R"({"repositories":["public/a"]})");
  EXPECT_NE(page.header("Link").find("last=public%2Fa"), std::string::npos);
  EXPECT_EQ(as("reader", "GET", "/v2/_catalog?n=1&last=public/a").header("Link"), "(none)");
}

TEST_F(Auth, ListsDeletionsInStepsWhenThereAreManyThatOneMayNotSee) {
  push_tag("owner", "team/app", "v1");
  push_tag("owner", "hidden/app", "v1");
  ASSERT_EQ(as("owner", "DELETE", "/v2/team/app/manifests/v1").status, 202);
  const auto database = meta::Connection::open(config_.data + "/metadata.sqlite",
                                               meta::Connection::Durability::kConsistentOnly)
                            .value();
  ASSERT_TRUE(
      database->script("WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n "
                       "WHERE i < 3000) INSERT INTO deletions (kind, repository, deleted_at) "
                       "SELECT 1, r.id, 0 FROM n, repositories r WHERE r.name = 'hidden/app'"));

  const auto first = as("reader", "GET", "/runnel/v1/_soft-delete?n=10");

  EXPECT_EQ(first.status, 200);
  EXPECT_TRUE(json::parse(first.body).at("deletions").as_array().empty());
  const auto link = first.header("Link");
  ASSERT_TRUE(link.starts_with("<") && link.ends_with(">; rel=\"next\"")) << link;
  const auto second = as("reader", "GET", link.substr(1, link.find('>') - 1));
  const auto found = json::parse(second.body).at("deletions").as_array();
  ASSERT_EQ(found.size(), 1u);
  EXPECT_EQ(found[0].at("repository").as_string(), "team/app");
  EXPECT_EQ(second.header("Link"), "(none)");
}

TEST_F(Auth, TakesProfilesOfPublicImagesFromThoseWhoLoggedInOnly) {
  const auto pushed = push_tag("owner", "public/app", "v1");
  const auto path =
      "/runnel/v1/public/app/_profiles/" + pushed.header("Docker-Content-Digest") + "?node=one";
  const auto layer = oci::Digest::of(as_bytes("layer")).to_string();
  const auto start =
      fmt::format(R"({{"version":1,"image":"i","layers":["{}"],"chunks":[[0,1]]}})", layer);

  const auto refused = send("POST", path, start);

  EXPECT_EQ(refused.status, 401);
  EXPECT_NE(refused.header("WWW-Authenticate").find("repository:public/app:pull"),
            std::string::npos);
  EXPECT_EQ(get(path).status, 404);
  EXPECT_EQ(as("reader", "POST", path, start).status, 204);
  EXPECT_EQ(get(path).status, 200);
}

TEST_F(Auth, WithoutItOnlyThisMachineIsServed) {
  registry_.reset();
  config_.auth = {};
  config_.address = "0.0.0.0";
  const auto refused = Registry::start(config_, clock_);
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().code, Code::kDenied);
  EXPECT_NE(refused.error().message.find("htpasswd"), std::string::npos);

  config_.address = "127.0.0.1";
  start();
  EXPECT_EQ(get("/v2/").status, 200);
  EXPECT_EQ(get("/runnel/v1/_tokens").status, 405);
}

TEST_F(Auth, WhoMaySeeFewOperationsGetsThemInPagesOfBoundedWork) {
  auto connection = meta::Connection::open(config_.data + "/metadata.sqlite",
                                           meta::Connection::Durability::kConsistentOnly);
  // The first one is the team's; long after them it is not time to forget any.
  const auto rows = fmt::format(
      "WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 4500) "
      "INSERT INTO operations (id, repository, digest, status, priority, principal, created_at, "
      "ended_at) SELECT 'id-' || i, CASE i WHEN 1 THEN 'team/app' ELSE 'secret/app' END, '{}', 3, "
      "0, '', 0, 9000000000000 FROM n",
      oci::Digest::of(as_bytes("image")));
  ASSERT_TRUE((*connection)->script(rows.c_str()));
  const auto page = [&](const std::string& target) {
    const auto answer = as("reader", "GET", target);
    EXPECT_EQ(answer.status, 200) << answer.body;
    const auto link = answer.header("Link");
    const auto next = link == "(none)" ? "" : link.substr(1, link.find('>') - 1);
    return std::pair(json::parse(answer.body).at("operations").as_array().size(), next);
  };

  size_t found = 0;
  size_t pages = 0;
  for (std::string next = "/runnel/v1/_operations?n=10"; !next.empty(); ++pages) {
    const auto [count, after] = page(next);
    found += count;
    next = after;
  }

  EXPECT_EQ(found, 1u);
  EXPECT_EQ(pages, 3u) << "4500 in pieces of 2000";
  EXPECT_EQ(page("/runnel/v1/_operations?repository=secret/app"),
            std::pair(size_t(0), std::string()))
      << "a next page would say that there are operations";
}

}  // namespace
}  // namespace runnel::registry
