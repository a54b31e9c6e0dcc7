#include "access/token.h"

#include <gtest/gtest.h>
#include <sys/stat.h>

#include "access/base64url.h"
#include "access/secret.h"
#include "support/temp_dir.h"

namespace runnel::access {
namespace {

constexpr WallTime kNow(std::chrono::seconds(1'800'000'000));

Claims claims() {
  Claims made;
  made.principal = Principal(Principal::Kind::kUser, "alice:b");
  made.expires = kNow + std::chrono::minutes(5);
  made.password_mark = "0123456789abcdef";
  made.limit = std::vector<Scope>{Scope("team/app", {Action::kContentRead, Action::kMetadataRead}),
                                  Scope::catalog()};
  return made;
}

class Token : public testing::Test {
 protected:
  const TokenSigner signer_{std::string(32, 'k'), "registry.example"};
};

TEST_F(Token, IsBelievedWhereItWasSigned) {
  const auto verified = signer_.verify(signer_.sign(claims(), kNow), kNow);

  ASSERT_TRUE(verified) << verified.error().message;
  EXPECT_EQ(verified->principal, claims().principal);
  EXPECT_EQ(verified->use, Claims::Use::kAccess);
  EXPECT_EQ(verified->limit, claims().limit);
  EXPECT_EQ(verified->password_mark, claims().password_mark);
}

TEST_F(Token, WithoutALimitIsNotTheSameAsLimitedToNothing) {
  auto unlimited = claims();
  unlimited.limit.reset();
  auto nothing = claims();
  nothing.limit = std::vector<Scope>();

  EXPECT_FALSE(signer_.verify(signer_.sign(unlimited, kNow), kNow)->limit);
  EXPECT_TRUE(signer_.verify(signer_.sign(nothing, kNow), kNow)->limit);
}

TEST_F(Token, EndsAtItsTime) {
  const auto token = signer_.sign(claims(), kNow);
  EXPECT_TRUE(signer_.verify(token, kNow + std::chrono::seconds(299)));
  EXPECT_FALSE(signer_.verify(token, kNow + std::chrono::seconds(300)));
  EXPECT_TRUE(signer_.verify(token, kNow - std::chrono::seconds(60)));
  EXPECT_FALSE(signer_.verify(token, kNow - std::chrono::seconds(61)));
}

// Seconds that are more than a WallTime has nanoseconds for would wrap.
TEST_F(Token, ThatEndsNearTheEndOfAllTimesIsRefused) {
  auto endless = claims();
  endless.expires = WallTime(std::chrono::seconds(9'200'000'000));

  EXPECT_FALSE(signer_.verify(signer_.sign(endless, kNow), kNow));
}

TEST_F(Token, OfAnotherRegistryOrKeyIsRefused) {
  const auto token = signer_.sign(claims(), kNow);
  EXPECT_FALSE(TokenSigner(std::string(32, 'x'), "registry.example").verify(token, kNow));
  EXPECT_FALSE(TokenSigner(std::string(32, 'k'), "other.example").verify(token, kNow));
}

TEST_F(Token, RefusesEveryFlippedCharacter) {
  const auto token = signer_.sign(claims(), kNow);
  for (size_t i = 0; i < token.size(); ++i) {
    auto changed = token;
    // The last character of a part has bits that do not count: change the highest ones.
    changed[i] = changed[i] == 'A' ? 'w' : 'A';
    EXPECT_FALSE(signer_.verify(changed, kNow)) << i;
  }
}

TEST_F(Token, DoesNotLetItsHeaderChooseHowItIsChecked) {
  const auto token = signer_.sign(claims(), kNow);
  const auto payload = token.substr(token.find('.'));
  for (const auto* header : {R"({"alg":"none","typ":"JWT"})", R"({"alg":"RS256","typ":"JWT"})",
                             R"({"alg":"HS256","typ":"JWT","jwk":{}})"}) {
    EXPECT_FALSE(signer_.verify(to_base64url(header) + payload, kNow)) << header;
  }
  EXPECT_FALSE(
      signer_.verify(to_base64url(R"({"alg":"none"})") +
                         token.substr(token.find('.'), token.rfind('.') - token.find('.')) + ".",
                     kNow));
}

TEST_F(Token, RefusesWhatIsNoToken) {
  for (const std::string text : {"", ".", "..", "a.b.c", "a.b", "Basic x"})
    EXPECT_FALSE(signer_.verify(text, kNow)) << text;
  EXPECT_FALSE(signer_.verify(std::string(1 << 20, 'a'), kNow));
}

TEST(Key, IsMadeOnceAndReadByItsOwnerOnly) {
  const test::TempDir directory;
  const auto path = directory.path() + "/key";

  const auto first = load_or_make_key(path);
  const auto second = load_or_make_key(path);

  ASSERT_TRUE(first) << first.error().message;
  EXPECT_EQ(first->size(), 32);
  EXPECT_EQ(*first, *second);
  struct stat found{};
  ASSERT_EQ(::stat(path.c_str(), &found), 0);
  EXPECT_EQ(found.st_mode & 0777, 0600);
}

TEST(Secret, IsLongAndNeverTheSame) {
  EXPECT_EQ(make_secret().size(), 43);
  EXPECT_NE(make_secret(), make_secret());
  EXPECT_TRUE(same_secret("abc", "abc"));
  EXPECT_FALSE(same_secret("abc", "abd"));
  EXPECT_FALSE(same_secret("abc", "ab"));
}

}  // namespace
}  // namespace runnel::access
