// Tokens, over HTTP: how one comes by them, what they are good for, and who keeps them.
#include <gtest/gtest.h>

#include "support/guarded_registry_fixture.h"

namespace runnel::registry {
namespace {

using net::Header;
using test::kPeople;

class TokenFlow : public test::GuardedRegistryFixture {};

TEST_F(TokenFlow, GivesATokenForWhatOneMayDoOfWhatOneAsksFor) {
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
TEST_F(TokenFlow, GivesNoTokenForWhatNoRepositoryCanBeCalled) {
  for (const auto* name : {"team/\xff", "Team/App", "team/app\x01", ""}) {
    const auto scope = fmt::format("repository:{}:pull repository:team/app:pull", name);
    const auto answer =
        as("owner", "GET", "/oauth2/token?service=x&scope=" + net::percent_encode(scope));

    EXPECT_EQ(member(answer, "scope"), "repository:team/app:pull") << name;
    EXPECT_EQ(send("GET", "/v2/", {}, {bearer(member(answer, "token"))}).status, 200) << name;
  }
}

TEST_F(TokenFlow, AsksForAnotherTokenWhenThisOneIsForSomethingElse) {
  blob_of("team/app", "x");
  const auto token = token_for("writer", "repository:team/app:pull");

  const auto answer = send("POST", "/v2/team/app/blobs/uploads/", {}, {bearer(token)});

  EXPECT_EQ(answer.status, 401);
  EXPECT_NE(answer.header("WWW-Authenticate")
                .find("scope=\"repository:team/app:pull,push\",error=\"insufficient_scope\""),
            std::string::npos)
      << answer.header("WWW-Authenticate");
}

TEST_F(TokenFlow, GivesAnonymousTokensForWhatIsPublic) {
  const auto digest = blob_of("public/app", "x");
  const auto answer =
      get("/oauth2/token?service=x&scope=repository:public/app:pull%20repository:team/app:pull");

  ASSERT_EQ(answer.status, 200) << answer.body;
  EXPECT_EQ(member(answer, "scope"), "repository:public/app:pull");
  const auto token = bearer(member(answer, "token"));
  EXPECT_EQ(send("GET", "/v2/public/app/blobs/" + digest, {}, {token}).status, 200);
  EXPECT_EQ(send("GET", "/v2/team/app/blobs/" + digest, {}, {token}).status, 401);
}

TEST_F(TokenFlow, RefreshesTokensByPostAndAsAPassword) {
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

TEST_F(TokenFlow, ExchangesATokenForADaysRightToReadImages) {
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

TEST_F(TokenFlow, ForgetsTokensOfPeopleWhoAreTakenOut) {
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

TEST_F(TokenFlow, MakesTokensWithScopeMapsAndTwoPasswords) {
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

TEST_F(TokenFlow, TakesWhatDoesNotNameItsPasswordByItsTime) {
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

TEST_F(TokenFlow, KeepsTokensForOwners) {
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

}  // namespace
}  // namespace runnel::registry
