#include "remote/shown_credentials.h"

#include <gtest/gtest.h>
#include <sys/mman.h>
#include <unistd.h>

#include "base/base64.h"
#include "remote/credential_chain.h"
#include "support/fake_clock.h"

namespace runnel::remote {
namespace {

Credential password(const std::string& user) {
  return {.user = user, .secret = Secret("s"), .kind = Credential::Kind::kPassword};
}
Credential bearer(const std::string& token, std::optional<WallTime> expires = {}) {
  return {
      .user = {}, .secret = Secret(token), .kind = Credential::Kind::kBearer, .expires = expires};
}

TEST(ShownCredentials, AreForTheirRepositoryOnly) {
  test::FakeClock clock;
  ShownCredentials shown(clock);
  shown.show("r.example", "team/app", password("pod"));

  EXPECT_EQ(shown.find("r.example", "team/app").value(), password("pod"));
  EXPECT_FALSE(shown.find("r.example", "team/other").value());
  EXPECT_FALSE(shown.find("r.example", "team").value());
  EXPECT_FALSE(shown.find("other.example", "team/app").value());
}

TEST(ShownCredentials, KeepASecretWhenATokenComes) {
  test::FakeClock clock;
  ShownCredentials shown(clock);
  shown.show("r", "a", bearer("t1"));
  EXPECT_EQ(shown.find("r", "a").value(), bearer("t1"));

  shown.show("r", "a", password("pod"));
  shown.show("r", "a", bearer("t2"));

  EXPECT_EQ(shown.find("r", "a").value(), password("pod"));
}

TEST(ShownCredentials, DropATokenThatHasExpired) {
  test::FakeClock clock;
  ShownCredentials shown(clock);
  shown.show("r", "a", bearer("t", clock.wall() + std::chrono::seconds(60)));

  EXPECT_TRUE(shown.find("r", "a").value());
  clock.advance(std::chrono::seconds(61));
  EXPECT_FALSE(shown.find("r", "a").value());
}

Credential right_for(std::vector<std::string> images) {
  return {.user = {},
          .secret = Secret("a day"),
          .kind = Credential::Kind::kIdentityToken,
          .expires = {},
          .images = std::move(images)};
}
std::vector<std::string> images_of(ShownCredentials& shown) {
  return shown.find("r", "a").value().value().images;
}

TEST(ShownCredentials, SayWhichImagesATokenIsWantedFor) {
  test::FakeClock clock;
  ShownCredentials shown(clock);
  shown.saw_image("r", "a", "one");
  shown.show("r", "a", bearer("t"));
  shown.saw_image("r", "a", "two");
  shown.saw_image("r", "b", "of another repository");
  shown.saw_image("r", "a", "one");

  EXPECT_EQ(images_of(shown), (std::vector<std::string>{"two", "one"}));
  for (int i = 0; i < 40; ++i) shown.saw_image("r", "a", std::to_string(i));
  EXPECT_EQ(images_of(shown).size(), 32u);
  EXPECT_EQ(images_of(shown).back(), "39");
}

TEST(ShownCredentials, TakeTheNextTokenForAnImageThatTheRightIsNotFor) {
  test::FakeClock clock;
  ShownCredentials shown(clock);
  shown.saw_image("r", "a", "one");
  shown.show("r", "a", bearer("t1"));
  shown.exchanged("r", "a", bearer("t1"), right_for({"one"}));
  EXPECT_EQ(shown.find("r", "a").value(), right_for({"one"}));

  shown.show("r", "a", bearer("t2", clock.wall() + std::chrono::seconds(60)));
  EXPECT_EQ(shown.find("r", "a").value(), right_for({"one"})) << "it is enough";
  shown.saw_image("r", "a", "two");

  EXPECT_EQ(shown.find("r", "a").value()->secret.reveal(), "t2");
  EXPECT_EQ(images_of(shown), (std::vector<std::string>{"one", "two"}));
  EXPECT_TRUE(shown.refused("r", "a", right_for({"one"}))) << "there is the token";
  clock.advance(std::chrono::seconds(61));
  EXPECT_FALSE(shown.refused("r", "a", right_for({"one"})));
  EXPECT_EQ(shown.find("r", "a").value(), right_for({"one"})) << "it goes on with its own image";
}

TEST(ShownCredentials, KnowWhatARightIsForInTheNextProcess) {
  test::FakeClock clock;
  const UniqueFd memory(::memfd_create("test", MFD_CLOEXEC));
  {
    ShownCredentials shown(clock, UniqueFd(::dup(memory.get())));
    shown.saw_image("r", "a", "one");
    shown.show("r", "a", bearer("t1"));
    shown.exchanged("r", "a", bearer("t1"), right_for({"one"}));
  }

  ShownCredentials shown(clock, UniqueFd(::dup(memory.get())));

  EXPECT_EQ(shown.find("r", "a").value(), right_for({"one"}));
}

TEST(ShownCredentials, ForgetWhatWasRefusedAndNotWhatCameSince) {
  test::FakeClock clock;
  ShownCredentials shown(clock);
  shown.show("r", "a", password("old"));
  shown.show("r", "a", password("new"));

  EXPECT_TRUE(shown.refused("r", "a", password("old")));
  EXPECT_EQ(shown.find("r", "a").value(), password("new"));
  EXPECT_FALSE(shown.refused("r", "a", password("new")));
  EXPECT_FALSE(shown.find("r", "a").value());
}

TEST(ShownCredentials, AreKnownToTheNextProcess) {
  test::FakeClock clock;
  const auto end = clock.wall() + std::chrono::seconds(60);
  const UniqueFd memory(memfd_create("shown", MFD_CLOEXEC));
  {
    ShownCredentials first(clock, UniqueFd(dup(memory.get())));
    first.show("r", "a", password("pod"));
    first.show("r", "b", bearer("t", end));
    first.show("r", "c", password("gone"));
    first.refused("r", "c", password("gone"));
  }

  ShownCredentials second(clock, UniqueFd(dup(memory.get())));

  EXPECT_EQ(second.find("r", "a").value(), password("pod"));
  EXPECT_EQ(second.find("r", "b").value(), bearer("t", end));
  EXPECT_FALSE(second.find("r", "c").value());
}

TEST(ShownCredentials, StartEmptyWhenTheMemoryIsTorn) {
  test::FakeClock clock;
  for (const std::string torn :
       {"", "[[\"r\",\"a\",\"u\"", "{}", "[1]", "[[1]]", R"([["r","a","u","s",77,0,[]]])"}) {
    UniqueFd memory(memfd_create("shown", MFD_CLOEXEC));
    ASSERT_TRUE(write_all_at(memory.get(), as_bytes(torn), 0));

    ShownCredentials shown(clock, std::move(memory));

    EXPECT_FALSE(shown.find("r", "a").value()) << torn;
  }
}

TEST(ShownCredentials, AreBounded) {
  test::FakeClock clock;
  ShownCredentials shown(clock);
  for (int i = 0; i < 5000; ++i) shown.show("r", std::to_string(i), password("u"));

  EXPECT_FALSE(shown.find("r", "0").value());
  EXPECT_TRUE(shown.find("r", "4999").value());
}

TEST(ExpiryOfToken, IsTheExpOfAJwtAndNothingElse) {
  const auto jwt = [](const std::string& claims) {
    return "eyJhbGciOiJub25lIn0." + to_base64(claims) + ".c2ln";
  };

  EXPECT_EQ(expiry_of_token(jwt("{\"exp\":1700000000}")),
            WallTime(std::chrono::seconds(1'700'000'000)));
  for (const auto& other :
       {jwt("{}"), jwt("{\"exp\":\"soon\"}"), jwt("{\"exp\":-1}"), jwt("[1]"), jwt("{"),
        std::string("opaque"), std::string("a.b"), std::string("a.%%.c"), std::string()})
    EXPECT_FALSE(expiry_of_token(other)) << other;
}

// One credential for everything, until it is refused.
class OneOf final : public CredentialSource {
 public:
  explicit OneOf(std::optional<Credential> credential) : credential_(std::move(credential)) {}
  Result<std::optional<Credential>> find(std::string_view, std::string_view) override {
    return credential_;
  }

 private:
  const std::optional<Credential> credential_;
};
class Broken final : public CredentialSource {
 public:
  Result<std::optional<Credential>> find(std::string_view, std::string_view) override {
    return fail(Code::kUnavailable, "the helper failed");
  }
};

TEST(CredentialChain, TakesTheFirstThatKnowsOne) {
  test::FakeClock clock;
  CredentialChain chain(
      {std::make_shared<OneOf>(std::nullopt), std::make_shared<Broken>(),
       std::make_shared<OneOf>(password("second")), std::make_shared<OneOf>(password("third"))},
      clock);

  EXPECT_EQ(chain.find("r", "a").value(), password("second"));
}

TEST(CredentialChain, SaysWhyNobodyKnowsOne) {
  test::FakeClock clock;
  CredentialChain chain({std::make_shared<Broken>(), std::make_shared<OneOf>(std::nullopt)}, clock);

  EXPECT_EQ(chain.find("r", "a").error().message, "the helper failed");
}

TEST(CredentialChain, PutsARefusedOneLastForAWhileAndForThatRepository) {
  test::FakeClock clock;
  CredentialChain chain(
      {std::make_shared<OneOf>(password("file")), std::make_shared<OneOf>(password("pod"))}, clock);
  EXPECT_EQ(chain.find("r", "a").value(), password("file"));

  EXPECT_TRUE(chain.refused("r", "a", password("file")));
  EXPECT_EQ(chain.find("r", "a").value(), password("pod"));
  EXPECT_EQ(chain.find("r", "b").value(), password("file"));
  clock.advance(std::chrono::seconds(61));
  EXPECT_EQ(chain.find("r", "a").value(), password("file"));
}

TEST(CredentialChain, UsesARefusedOneAgainWhenThereIsNoOther) {
  test::FakeClock clock;
  CredentialChain chain({std::make_shared<OneOf>(password("only"))}, clock);
  chain.find("r", "a").value();

  EXPECT_FALSE(chain.refused("r", "a", password("only"))) << "there is nothing else to try";
  EXPECT_EQ(chain.find("r", "a").value(), password("only"));
}

}  // namespace
}  // namespace runnel::remote
