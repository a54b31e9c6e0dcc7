#include "net/headers.h"

#include <gtest/gtest.h>

namespace runnel::net {
namespace {

TEST(Headers, FindNamesInAnyCase) {
  Headers headers;
  headers.add("Content-Type", "text/plain");

  EXPECT_EQ(headers.first("content-TYPE"), "text/plain");
  EXPECT_FALSE(headers.has("Content"));
}

TEST(Headers, KeepTheOrderOfLinesWithOneName) {
  Headers headers;
  headers.add("Accept", "a");
  headers.add("Host", "h");
  headers.add("accept", "b");

  EXPECT_EQ(headers.all("Accept"), (std::vector<std::string_view>{"a", "b"}));
  EXPECT_EQ(headers.size(), 3u);
}

TEST(Headers, SetReplacesEveryLineOfTheName) {
  Headers headers{{"a", "1"}, {"b", "2"}, {"A", "3"}};

  headers.set("a", "4");

  EXPECT_EQ(headers, (Headers{{"b", "2"}, {"a", "4"}}));
}

TEST(Headers, FindTokensInLists) {
  const Headers headers{{"Connection", "keep-alive, Upgrade"}, {"Connection", " close "}};

  EXPECT_TRUE(headers.has_token("connection", "upgrade"));
  EXPECT_TRUE(headers.has_token("connection", "close"));
  EXPECT_FALSE(headers.has_token("connection", "keep"));
}

TEST(Headers, RefuseToSendALineBreak) {
  for (const auto* value : {"a\r\nSet-Cookie: x", "a\nb", "a\rb", "\x01", "a\x7f"})
    EXPECT_FALSE((Headers{{"Location", value}}.check())) << value;
  EXPECT_FALSE((Headers{{"Loc ation", "x"}}.check()));
  EXPECT_FALSE((Headers{{"", "x"}}.check()));
  EXPECT_TRUE((Headers{{"Location", "/a b\tc\xc3\xa4"}}.check()));
}

TEST(Headers, DoNotShowARefusedValue) {
  const auto checked = Headers{{"Authorization", "Bearer secret\n"}}.check();

  ASSERT_FALSE(checked);
  EXPECT_EQ(checked.error().message.find("secret"), std::string::npos);
}

TEST(Headers, BoundWhatAPeerSends) {
  Headers many;
  for (size_t i = 0; i < Headers::kMaxLines; ++i) ASSERT_TRUE(many.add_received("a", "b"));
  Headers large;
  ASSERT_TRUE(large.add_received("a", std::string(Headers::kMaxBytes - 1, 'x')));

  EXPECT_EQ(many.add_received("a", "b").error().code, Code::kExhausted);
  EXPECT_EQ(large.add_received("a", "").error().code, Code::kExhausted);
}

TEST(Headers, TrimReceivedValues) {
  Headers headers;

  ASSERT_TRUE(headers.add_received("A", " \t b c \t"));

  EXPECT_EQ(headers.first("A"), "b c");
}

}  // namespace
}  // namespace runnel::net
