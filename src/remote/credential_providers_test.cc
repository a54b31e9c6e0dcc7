#include "remote/credential_providers.h"

#include <gtest/gtest.h>

#include <algorithm>

#include "base/durable.h"
#include "base/fd.h"
#include "support/fake_clock.h"
#include "support/temp_dir.h"

namespace runnel::remote {
namespace {

constexpr const char* kConfig = R"(apiVersion: kubelet.config.k8s.io/v1
kind: CredentialProviderConfig
providers:
  - name: provider
    matchImages:
      - "*.registry.example"
      - other.example:5000/team
    defaultCacheDuration: 1h
    apiVersion: credentialprovider.kubelet.k8s.io/v1
    args: [get-credentials, --quiet]
    env:
      - name: REGION
        value: north
)";

TEST(MatchesImage, FollowsKubelet) {
  for (const auto& [pattern, image] : std::vector<std::pair<std::string, std::string>>{
           {"r.example", "r.example/a"},
           {"*.example", "r.example/a"},
           {"*.dkr.ecr.*.amazonaws.com", "1.dkr.ecr.eu-west-1.amazonaws.com/x"},
           {"r.example/team", "r.example/team/app"},
           {"r.example:5000", "r.example:5000/a"},
           {"https://r.example", "r.example/a"},
           {"app*.example", "app1.example/a"}})
    EXPECT_TRUE(matches_image(pattern, image)) << pattern << " " << image;
  for (const auto& [pattern, image] :
       std::vector<std::pair<std::string, std::string>>{{"*.example", "a.b.example/x"},
                                                        {"*", "r.example/a"},
                                                        {"r.example", "r.example:5000/a"},
                                                        {"r.example:5000", "r.example/a"},
                                                        {"r.example/team", "r.example/other"},
                                                        {"r.example", "evil-r.example/a"},
                                                        {"", "r.example/a"}})
    EXPECT_FALSE(matches_image(pattern, image)) << pattern << " " << image;
}

TEST(GoDuration, IsReadAsGoWritesIt) {
  using std::chrono::milliseconds;
  EXPECT_EQ(parse_go_duration("12h").value(), std::chrono::hours(12));
  EXPECT_EQ(parse_go_duration("1h30m").value(), std::chrono::minutes(90));
  EXPECT_EQ(parse_go_duration("1.5s").value(), milliseconds(1500));
  EXPECT_EQ(parse_go_duration("12h0m0s").value(), std::chrono::hours(12));
  EXPECT_EQ(parse_go_duration("0").value(), Duration::zero());
  for (const char* bad : {"", "h", "5", "-1h", "1x", "1h-2m", "99999999999999999999h", "1h 2m"})
    EXPECT_FALSE(parse_go_duration(bad)) << bad;
}

TEST(ProviderConfig, IsReadWhole) {
  const auto providers = parse_provider_config(kConfig, "p.yaml");

  ASSERT_TRUE(providers) << providers.error().message;
  ASSERT_EQ(providers->size(), 1u);
  const auto& one = providers->front();
  EXPECT_EQ(one.name, "provider");
  EXPECT_EQ(one.match_images,
            (std::vector<std::string>{"*.registry.example", "other.example:5000/team"}));
  EXPECT_EQ(one.cache_duration, std::chrono::hours(1));
  EXPECT_EQ(one.arguments, (std::vector<std::string>{"get-credentials", "--quiet"}));
  EXPECT_EQ(one.environment,
            (std::vector<std::pair<std::string, std::string>>{{"REGION", "north"}}));
}

TEST(ProviderConfig, IsRefusedWithItsPlace) {
  const std::string good(kConfig);
  const auto with = [&](const std::string& from, const std::string& to) {
    std::string text = good;
    text.replace(text.find(from), from.size(), to);
    return text;
  };
  for (const auto& bad :
       {std::string(), std::string("a: [b"), std::string("- x"), with("kind: Cred", "kind: X"),
        with("name: provider", "name: ../evil"), with("name: provider", "name: .."),
        with("1h", "soon"), with("credentialprovider.kubelet", "other"),
        with("matchImages:", "matchImage:"), with("[get-credentials, --quiet]", "{a: b}")}) {
    const auto outcome = parse_provider_config(bad, "p.yaml");
    ASSERT_FALSE(outcome) << bad;
    EXPECT_TRUE(outcome.error().message.starts_with("p.yaml:")) << outcome.error().message;
  }
}

class Providers : public testing::Test {
 protected:
  void SetUp() override {
    ASSERT_TRUE(replace_file(dir_.path() + "/p.yaml", as_bytes(kConfig)));
    answer(
        "{\"kind\":\"CredentialProviderResponse\","
        "\"apiVersion\":\"credentialprovider.kubelet.k8s.io/v1\","
        "\"cacheKeyType\":\"Registry\",\"cacheDuration\":\"10m\","
        "\"auth\":{\"*.registry.example\":{\"username\":\"wide\",\"password\":\"1\"},"
        "\"a.registry.example/team\":{\"username\":\"exact\",\"password\":\"2\"}}}");
  }
  // A provider that notes its question, arguments and environment, and says this.
  void answer(const std::string& text, int code = 0) const {
    const auto path = dir_.path() + "/provider";
    const auto log = dir_.path() + "/asked";
    ASSERT_TRUE(
        replace_file(path,
                     as_bytes(fmt::format("#!/bin/sh\n{{ cat; echo \" $* $REGION\"; }} >> {}\n"
                                          "cat <<'END'\n{}\nEND\nexit {}\n",
                                          log, text, code)),
                     0755));
  }
  std::string asked() const {
    const auto bytes = read_file(dir_.path() + "/asked", 1 << 20);
    return bytes ? std::string(as_text(*bytes)) : std::string();
  }
  size_t times_asked() const {
    const auto text = asked();
    return static_cast<size_t>(std::ranges::count(text, '\n'));
  }

  test::TempDir dir_;
  test::FakeClock clock_;
  CredentialProviders providers_{dir_.path() + "/p.yaml", dir_.path(), clock_};
};

TEST_F(Providers, AreAskedAsKubeletAsks) {
  const auto credential = providers_.find("b.registry.example", "x/y");

  ASSERT_TRUE(credential) << credential.error().message;
  EXPECT_EQ((*credential)->user, "wide");
  EXPECT_EQ(asked(),
            "{\"kind\":\"CredentialProviderRequest\",\"apiVersion\":"
            "\"credentialprovider.kubelet.k8s.io/v1\",\"image\":\"b.registry.example/x/y\"} "
            "get-credentials --quiet north\n");
}

TEST_F(Providers, GiveTheMostExactOfTheirAnswers) {
  EXPECT_EQ((*providers_.find("a.registry.example", "team/app"))->user, "exact");
  EXPECT_EQ((*providers_.find("a.registry.example", "other"))->user, "wide");
  EXPECT_EQ(times_asked(), 1u) << "the answer was for the whole registry";
}

TEST_F(Providers, AreAskedAgainWhenTheAnswerIsOld) {
  ASSERT_TRUE(providers_.find("b.registry.example", "a"));
  clock_.advance(std::chrono::minutes(9));
  ASSERT_TRUE(providers_.find("b.registry.example", "a"));
  EXPECT_EQ(times_asked(), 1u);

  clock_.advance(std::chrono::minutes(2));
  ASSERT_TRUE(providers_.find("b.registry.example", "a"));
  EXPECT_EQ(times_asked(), 2u);
}

TEST_F(Providers, AreAskedAgainWhenTheirAnswerWasRefused) {
  const auto first = providers_.find("b.registry.example", "a").value();
  EXPECT_FALSE(providers_.refused("b.registry.example", "a", *first)) << "it was asked just now";

  clock_.advance(std::chrono::seconds(11));
  EXPECT_TRUE(providers_.refused("b.registry.example", "a", *first));
  ASSERT_TRUE(providers_.find("b.registry.example", "a"));
  EXPECT_EQ(times_asked(), 2u);
}

TEST_F(Providers, AreNotAskedAboutImagesThatAreNotTheirs) {
  EXPECT_FALSE(providers_.find("registry.example", "a").value());
  EXPECT_FALSE(providers_.find("other.example:5000", "else/app").value());
  EXPECT_EQ(times_asked(), 0u);
}

TEST_F(Providers, ThatFailSayWhoAndNeverWhat) {
  for (const auto& [text, code] : std::vector<std::pair<std::string, int>>{
           {"hunter2", 0}, {"{\"kind\":\"hunter2\"}", 0}, {"hunter2", 3}}) {
    answer(text, code);
    const auto outcome = providers_.find("b.registry.example", "a");
    ASSERT_FALSE(outcome) << text;
    EXPECT_NE(outcome.error().message.find("credential provider provider"), std::string::npos);
    EXPECT_EQ(outcome.error().message.find("hunter2"), std::string::npos);
  }
}

}  // namespace
}  // namespace runnel::remote
