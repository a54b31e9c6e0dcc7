// Who may do what, over HTTP, and the token flow of the registry.
#include <gtest/gtest.h>
#include <poll.h>

#include <boost/json.hpp>
#include <deque>

#include "base/base64.h"
#include "base/durable.h"
#include "meta/sqlite.h"
#include "net/url.h"
#include "support/raw_socket.h"
#include "support/registry_fixture.h"

namespace runnel::registry {
namespace {

namespace json = boost::json;
using net::Header;
using test::Answered;

// bcrypt of the name and "-password", at the lowest cost.
constexpr const char* kPeople =
    "reader:$2y$04$abcdefghijklmnopqrstuuJrYgcKAXtZL5K4o8WC.BGozQtX36Hoi\n"
    "owner:$2y$04$abcdefghijklmnopqrstuueq.9O3slT88H.R/Ie8Pfn8QEGfb916W\n"
    "writer:$2y$04$abcdefghijklmnopqrstuuW7cUQRe2orPE4LdAW4FedW4hz6ldpzG\n"
    "converter:$2y$04$abcdefghijklmnopqrstuuz4gyrE87VcPC4MlbF2jPbaSpWTfPqQW\n";

// At a cost that takes a quarter of a second.
constexpr const char* kSlow = "slow:$2y$12$abcdefghijklmnopqrstuuKwIlPvyLlw8e74Johhjece.ndnfSP1S\n";

class Auth : public test::RegistryFixture {
 protected:
  Auth() {
    const auto path = directory_.path() + "/htpasswd";
    EXPECT_TRUE(replace_file(path, as_bytes(kPeople), 0600));
    registry_.reset();
    config_.auth.htpasswd = path;
    config_.auth.anonymous_pull = {"public/*"};
    config_.auth.users["owner"] = {{"*", access::Actions::all()}};
    config_.auth.users["reader"] = {{"team/*", access::role("AcrPull").value()}};
    config_.auth.users["writer"] = {{"team/*", access::role("AcrPush").value()}};
    config_.auth.users["converter"] = {{"team/*", access::role("Converter").value()}};
    start();
  }

  static Header basic(const std::string& user) {
    return {"Authorization", "Basic " + to_base64(user + ":" + user + "-password")};
  }
  static Header bearer(const std::string& token) { return {"Authorization", "Bearer " + token}; }

  static Header basic(const std::string& user, const std::string& password) {
    return {"Authorization", "Basic " + to_base64(user + ":" + password)};
  }

  Answered as(const std::string& user, const std::string& method, const std::string& target,
              std::string_view body = {}) {
    return send(method, target, body, {basic(user)});
  }

  static std::string member(const Answered& answer, const char* name) {
    const auto value = json::parse(answer.body);
    const auto* found = value.as_object().if_contains(name);
    return found == nullptr ? "(none)" : json::value_to<std::string>(*found);
  }
  static std::string code(const Answered& answer) {
    const auto value = json::parse(answer.body);
    return json::value_to<std::string>(value.at("errors").at(0).at("code"));
  }

  std::string token_for(const std::string& user, const std::string& scope) {
    const auto answer =
        as(user, "GET", "/oauth2/token?service=x&scope=" + net::percent_encode(scope));
    EXPECT_EQ(answer.status, 200) << answer.body;
    return member(answer, "token");
  }

  // The digest of a blob that the owner pushed.
  std::string blob_of(const std::string& repository, std::string_view text) {
    const auto begun = as("owner", "POST", "/v2/" + repository + "/blobs/uploads/");
    EXPECT_EQ(begun.status, 202);
    const auto digest = oci::Digest::of(as_bytes(text)).to_string();
    EXPECT_EQ(as("owner", "PUT", begun.header("Location") + "?digest=" + digest, text).status, 201);
    return digest;
  }

  Answered push_tag(const std::string& user, const std::string& repository, const std::string& tag,
                    const std::string& artifact_type = {}) {
    blob_of(repository, "{}");
    auto made = image({});
    made.artifact_type = artifact_type;
    return send("PUT", "/v2/" + repository + "/manifests/" + tag, oci::to_json(made),
                {basic(user), Header("Content-Type", std::string(oci::kOciManifest))});
  }
};

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

TEST_F(Auth, GivesATokenForWhatOneMayDoOfWhatOneAsksFor) {
  const auto digest = blob_of("team/app", "x");
  const auto answer = as("reader", "GET",
                         "/oauth2/token?service=x&scope=repository:team/app:pull,push&"
                         "scope=repository:other/app:pull");

  EXPECT_EQ(answer.status, 200);
  EXPECT_EQ(member(answer, "scope"), "repository:team/app:pull");
  EXPECT_EQ(member(answer, "token"), member(answer, "access_token"));
  EXPECT_EQ(answer.header("Cache-Control"), "no-store");
  const auto token = member(answer, "token");
  EXPECT_EQ(send("GET", "/v2/team/app/blobs/" + digest, {}, {bearer(token)}).status, 200);
  EXPECT_EQ(send("POST", "/v2/team/app/blobs/uploads/", {}, {bearer(token)}).status, 403);
  EXPECT_EQ(send("GET", "/v2/", {}, {bearer(token)}).status, 200);
}

// A token with a name in it that is no UTF-8 would be one that nobody can read.
TEST_F(Auth, GivesNoTokenForWhatNoRepositoryCanBeCalled) {
  for (const auto* name : {"team/\xff", "Team/App", "team/app\x01", ""}) {
    const auto scope = fmt::format("repository:{}:pull repository:team/app:pull", name);
    const auto answer =
        as("owner", "GET", "/oauth2/token?service=x&scope=" + net::percent_encode(scope));

    EXPECT_EQ(member(answer, "scope"), "repository:team/app:pull") << name;
    EXPECT_EQ(send("GET", "/v2/", {}, {bearer(member(answer, "token"))}).status, 200) << name;
  }
}

TEST_F(Auth, AsksForAnotherTokenWhenThisOneIsForSomethingElse) {
  blob_of("team/app", "x");
  const auto token = token_for("writer", "repository:team/app:pull");

  const auto answer = send("POST", "/v2/team/app/blobs/uploads/", {}, {bearer(token)});

  EXPECT_EQ(answer.status, 401);
  EXPECT_NE(answer.header("WWW-Authenticate")
                .find("scope=\"repository:team/app:pull,push\",error=\"insufficient_scope\""),
            std::string::npos)
      << answer.header("WWW-Authenticate");
}

TEST_F(Auth, GivesAnonymousTokensForWhatIsPublic) {
  const auto digest = blob_of("public/app", "x");
  const auto answer =
      get("/oauth2/token?service=x&scope=repository:public/app:pull%20repository:team/app:pull");

  ASSERT_EQ(answer.status, 200) << answer.body;
  EXPECT_EQ(member(answer, "scope"), "repository:public/app:pull");
  const auto token = bearer(member(answer, "token"));
  EXPECT_EQ(send("GET", "/v2/public/app/blobs/" + digest, {}, {token}).status, 200);
  EXPECT_EQ(send("GET", "/v2/team/app/blobs/" + digest, {}, {token}).status, 401);
}

TEST_F(Auth, RefreshesTokensByPostAndAsAPassword) {
  const auto digest = blob_of("team/app", "x");
  const auto first = send("POST", "/oauth2/token",
                          "grant_type=password&username=reader&password=reader-password&service=x&"
                          "access_type=offline&scope=repository%3Ateam%2Fapp%3Apull");
  ASSERT_EQ(first.status, 200) << first.body;
  const auto refresh = member(first, "refresh_token");

  const auto second = send("POST", "/oauth2/token",
                           "grant_type=refresh_token&service=x&scope=repository:team/app:pull&"
                           "refresh_token=" +
                               refresh);
  ASSERT_EQ(second.status, 200) << second.body;
  EXPECT_EQ(member(second, "refresh_token"), "(none)");
  EXPECT_EQ(
      send("GET", "/v2/team/app/blobs/" + digest, {}, {bearer(member(second, "token"))}).status,
      200);
  const Header login("Authorization",
                     "Basic " + to_base64("00000000-0000-0000-0000-000000000000:" + refresh));
  EXPECT_EQ(send("GET", "/v2/team/app/blobs/" + digest, {}, {login}).status, 200);
  EXPECT_EQ(send("GET", "/v2/", {}, {bearer(refresh)}).status, 401);
  EXPECT_EQ(send("POST", "/oauth2/token", "grant_type=password&username=reader&password=x").status,
            401);
  EXPECT_EQ(send("POST", "/oauth2/token", "grant_type=magic").status, 400);
}

TEST_F(Auth, ExchangesATokenForADaysRightToReadImages) {
  const auto digest = blob_of("team/app", "x");
  const auto token = token_for("writer", "repository:team/app:pull,push");
  const auto exchanged =
      send("POST", "/oauth2/exchange",
           "grant_type=access_token&service=x&image=" + digest + "&access_token=" + token);
  ASSERT_EQ(exchanged.status, 200) << exchanged.body;

  const auto again = send("POST", "/oauth2/token",
                          "grant_type=refresh_token&scope=repository:team/app:pull,push%20"
                          "repository:team/b:pull&refresh_token=" +
                              member(exchanged, "refresh_token"));

  ASSERT_EQ(again.status, 200) << again.body;
  EXPECT_EQ(member(again, "scope"), "repository:team/app:pull");
  // Of which the blob alone is none: tests/integration/test_image_rights.py goes through them.
  EXPECT_EQ(
      send("GET", "/v2/team/app/blobs/" + digest, {}, {bearer(member(again, "token"))}).status,
      401);
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

TEST_F(Auth, ForgetsTokensOfPeopleWhoAreTakenOut) {
  const auto digest = blob_of("team/app", "x");
  const auto token = token_for("reader", "repository:team/app:pull");
  ASSERT_EQ(send("GET", "/v2/team/app/blobs/" + digest, {}, {bearer(token)}).status, 200);
  registry_.reset();
  std::string rest(kPeople);
  rest.erase(0, rest.find("owner:"));
  ASSERT_TRUE(replace_file(config_.auth.htpasswd, as_bytes(rest), 0600));
  start();

  EXPECT_EQ(send("GET", "/v2/team/app/blobs/" + digest, {}, {bearer(token)}).status, 401);
}

TEST_F(Auth, MakesTokensWithScopeMapsAndTwoPasswords) {
  const auto digest = blob_of("team/app", "x");
  ASSERT_EQ(as("owner", "PUT", "/runnel/v1/_scope-maps/ci",
               R"({"description":"builds","actions":["repositories/team/*/content/read"]})")
                .status,
            200);
  ASSERT_EQ(as("owner", "PUT", "/runnel/v1/_tokens/ci", R"({"scopeMap":"ci"})").status, 200);
  const auto generate = [&](const std::string& which) {
    const auto made = as("owner", "POST", "/runnel/v1/_tokens/ci:generate",
                         R"({"days":30,"name":")" + which + "\"}");
    EXPECT_EQ(made.status, 200) << made.body;
    return member(made, "value");
  };
  const auto login = [&](const std::string& password) {
    return send("GET", "/v2/team/app/blobs/" + digest, {},
                {Header("Authorization", "Basic " + to_base64("ci:" + password))})
        .status;
  };
  const auto one = generate("password1");
  const auto two = generate("password2");

  EXPECT_EQ(login(one), 200);
  EXPECT_EQ(login(two), 200);
  EXPECT_EQ(login("wrong"), 401);
  const auto again = generate("password1");
  EXPECT_EQ(login(one), 401);
  EXPECT_EQ(login(again), 200);
  const auto shown = as("owner", "GET", "/runnel/v1/_tokens/ci");
  EXPECT_EQ(shown.body.find(two), std::string::npos);
  EXPECT_NE(shown.body.find("\"expiry\""), std::string::npos);

  EXPECT_EQ(as("owner", "DELETE", "/runnel/v1/_scope-maps/ci").status, 409);
  ASSERT_EQ(as("owner", "PUT", "/runnel/v1/_tokens/ci", R"({"status":"disabled"})").status, 200);
  EXPECT_EQ(login(two), 401);
  EXPECT_EQ(as("owner", "DELETE", "/runnel/v1/_tokens/ci").status, 204);
  EXPECT_EQ(as("owner", "DELETE", "/runnel/v1/_scope-maps/ci").status, 204);
}

TEST_F(Auth, TakesWhatDoesNotNameItsPasswordByItsTime) {
  const auto digest = blob_of("team/app", "x");
  ASSERT_EQ(
      as("owner", "PUT", "/runnel/v1/_tokens/ci", R"({"scopeMap":"_repositories_pull"})").status,
      200);
  ASSERT_EQ(as("owner", "POST", "/runnel/v1/_tokens/ci:generate", R"({"name":"password1"})").status,
            200);
  const access::TokenSigner signer(access::load_or_make_key(config_.data + "/token.key").value(),
                                   "runnel-registry");
  const auto pull_signed_at = [&](WallTime time) {
    access::Claims claims;
    claims.principal = {access::Principal::Kind::kToken, "ci"};
    claims.expires = time + config_.auth.token_lifetime;
    return send("GET", "/v2/team/app/blobs/" + digest, {}, {bearer(signer.sign(claims, time))})
        .status;
  };

  EXPECT_EQ(pull_signed_at(clock_.wall()), 200);
  EXPECT_EQ(pull_signed_at(clock_.wall() - std::chrono::seconds(30)), 401);
}

TEST_F(Auth, KeepsTokensForOwners) {
  EXPECT_EQ(get("/runnel/v1/_tokens").status, 401);
  EXPECT_EQ(as("writer", "GET", "/runnel/v1/_tokens").status, 403);
  EXPECT_EQ(as("owner", "GET", "/runnel/v1/_tokens").body, R"({"tokens":[]})");
  // Not with a token either: what it made would outlive it.
  const auto token = token_for("owner", "registry:catalog:*");
  EXPECT_EQ(send("GET", "/runnel/v1/_tokens", {}, {bearer(token)}).status, 403);
  for (const std::string& body :
       std::vector<std::string>{"", "[]", "{", R"({"scopeMap":"absent"})", R"({"scopeMap":1})",
                                R"({"scopeMap":"_repositories_pull","status":"odd"})"})
    EXPECT_GE(as("owner", "PUT", "/runnel/v1/_tokens/t", body).status, 400) << body;
  EXPECT_EQ(
      as("owner", "PUT", "/runnel/v1/_tokens/_t", R"({"scopeMap":"_repositories_pull"})").status,
      400);
  EXPECT_EQ(
      as("owner", "PUT", "/runnel/v1/_scope-maps/_repositories_pull", R"({"actions":[]})").status,
      400);
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
