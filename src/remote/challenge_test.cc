#include "remote/challenge.h"

#include <gtest/gtest.h>

namespace runnel::remote {
namespace {

TEST(Challenge, ReadsWhatARegistrySends) {
  auto parsed =
      parse_challenges(R"(Bearer realm="https://auth.example/token",service="registry.example",)"
                       R"(scope="repository:a/b:pull,push",error="invalid_token")");

  ASSERT_TRUE(parsed);
  ASSERT_EQ(parsed->size(), 1u);
  const Challenge& challenge = parsed->front();
  EXPECT_EQ(challenge.scheme, "bearer");
  EXPECT_EQ(challenge.parameter("realm"), "https://auth.example/token");
  EXPECT_EQ(challenge.parameter("service"), "registry.example");
  EXPECT_EQ(challenge.parameter("scope"), "repository:a/b:pull,push");
  EXPECT_EQ(challenge.parameter("error"), "invalid_token");
  EXPECT_EQ(challenge.parameter("nonce"), "");
}

TEST(Challenge, TakesSeveralOnOneLine) {
  auto parsed =
      parse_challenges(R"(Negotiate oYGe/+==, Basic realm="a, b=\"c\"", , BEARER Realm = x)");

  ASSERT_TRUE(parsed) << parsed.error().message;
  ASSERT_EQ(parsed->size(), 3u);
  EXPECT_EQ((*parsed)[0].scheme, "negotiate");
  EXPECT_TRUE((*parsed)[0].parameters.empty());
  EXPECT_EQ((*parsed)[1].scheme, "basic");
  EXPECT_EQ((*parsed)[1].parameter("realm"), "a, b=\"c\"");
  EXPECT_EQ((*parsed)[2].scheme, "bearer");
  EXPECT_EQ((*parsed)[2].parameter("realm"), "x");
}

TEST(Challenge, TakesASchemeAlone) {
  auto parsed = parse_challenges("Basic");

  ASSERT_TRUE(parsed);
  EXPECT_EQ(parsed->front().scheme, "basic");
}

TEST(Challenge, RefusesWhatBreaksTheGrammar) {
  for (const std::string& line :
       {std::string(""), std::string(" , "), std::string("Bearer realm=\"x"),
        std::string("Bearer realm=\"x\" service=\"y\""), std::string("Bearer a=1,realm="),
        std::string("Bearer realm=\"x\",realm=\"y\""), std::string("Bearer realm=\"a\\"),
        std::string("Bearer realm=\"a\nb\""), std::string("\"Bearer\""),
        std::string(10'000, 'a')}) {
    auto parsed = parse_challenges(line);

    ASSERT_FALSE(parsed) << line;
    EXPECT_EQ(parsed.error().code, Code::kInvalid);
  }
}

}  // namespace
}  // namespace runnel::remote
