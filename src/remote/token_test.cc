#include "remote/token.h"

#include <gtest/gtest.h>

namespace runnel::remote {
namespace {

Result<Token> parse(std::string_view answer) {
  return parse_token(as_bytes(answer));
}

TEST(TokenAnswer, HasATokenUnderEitherName) {
  EXPECT_EQ(parse(R"({"token":"a","access_token":"b"})")->value.reveal(), "a");
  EXPECT_EQ(parse(R"({"access_token":"b"})")->value.reveal(), "b");
  for (const auto* wrong :
       {"", "[]", "{}", R"({"token":1})", R"({"token":"a b"})", R"({"token":"a\r\nX: y"})"})
    EXPECT_FALSE(parse(wrong)) << wrong;
}

TEST(TokenAnswer, LivesAMinuteWhenItDoesNotSayAndADayAtMost) {
  const auto lifetime = [](const char* text) {
    return parse(fmt::format(R"({{"token":"a","expires_in":{}}})", text))->lifetime;
  };

  EXPECT_EQ(lifetime("300"), std::chrono::seconds(300));
  for (const auto* unsaid : {"0", "-1", "1e-9", "\"300\"", "null"})
    EXPECT_EQ(lifetime(unsaid), std::chrono::seconds(60)) << unsaid;
  EXPECT_EQ(lifetime("1e300"), std::chrono::hours(24));
}

}  // namespace
}  // namespace runnel::remote
