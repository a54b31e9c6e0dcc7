#include "snapshot/filter.h"

#include <gtest/gtest.h>

namespace runnel::snapshot {
namespace {

Info sample() {
  Info info;
  info.name = "k8s.io/1/sha256:a";
  info.parent = "p";
  info.kind = Kind::kCommitted;
  info.labels = {{"containerd.io/snapshot.ref", "sha256:a"}, {"x", "1"}};
  return info;
}

bool matches(const std::vector<std::string>& filters) {
  const auto parsed = Filters::parse(filters);
  EXPECT_TRUE(parsed) << parsed.error().message;
  return parsed && parsed->match(sample());
}

TEST(Filters, LetEverythingThroughWhenThereAreNone) {
  EXPECT_TRUE(matches({}));
}

TEST(Filters, FindWhatContainerdAsksForAfterAStreamedPrepare) {
  EXPECT_TRUE(matches({R"(labels."containerd.io/snapshot.ref"==sha256:a,parent=="p")"}));
  EXPECT_FALSE(matches({R"(labels."containerd.io/snapshot.ref"==sha256:a,parent=="q")"}));
  EXPECT_FALSE(matches({R"(labels."containerd.io/snapshot.ref"==sha256:b,parent=="p")"}));
}

TEST(Filters, SayTheParentThatEverythingHasThatMatches) {
  const auto parent = [](const std::vector<std::string>& filters) {
    return Filters::parse(filters).value().parent();
  };
  EXPECT_EQ(parent({R"(labels.x==1,parent=="p")"}), "p");
  EXPECT_EQ(parent({R"(parent=="")"}), "");
  EXPECT_EQ(parent({}), std::nullopt);
  EXPECT_EQ(parent({"parent!=p"}), std::nullopt);
  EXPECT_EQ(parent({"parent~=p"}), std::nullopt);
  EXPECT_EQ(parent({"name==p"}), std::nullopt);
  EXPECT_EQ(parent({"parent==p", "name==a"}), std::nullopt) << "one of them is enough";
}

TEST(Filters, KnowEveryOperatorAndField) {
  EXPECT_TRUE(matches({"kind==committed"}));
  EXPECT_TRUE(matches({"kind!=active"}));
  EXPECT_TRUE(matches({"name~=sha256"}));
  EXPECT_FALSE(matches({"name~=^sha256"}));
  EXPECT_TRUE(matches({"labels.x"}));
  EXPECT_FALSE(matches({"labels.y"}));
  EXPECT_TRUE(matches({"labels.y!=1"}));
}

TEST(Filters, HoldWhenAnyOfSeveralDoes) {
  EXPECT_TRUE(matches({"kind==view", "labels.x==1"}));
  EXPECT_FALSE(matches({"kind==view", "labels.x==2"}));
}

TEST(Filters, LetEverythingThroughWhenEmpty) {
  EXPECT_TRUE(matches({""}));
  EXPECT_TRUE(matches({"kind==view", " "}));
}

TEST(Filters, FindFieldsThatAreEmptyButNotLabelsThatAreAbsent) {
  Info info = sample();
  info.parent = "";

  EXPECT_TRUE(Filters::parse(std::vector<std::string>{"parent"})->match(info));
  EXPECT_TRUE(Filters::parse(std::vector<std::string>{R"(parent=="")"})->match(info));
  EXPECT_FALSE(Filters::parse(std::vector<std::string>{R"(parent!="")"})->match(info));
  EXPECT_FALSE(Filters::parse(std::vector<std::string>{R"(labels.y=="")"})->match(info));
  EXPECT_TRUE(Filters::parse(std::vector<std::string>{"labels.y~=^$"})->match(info));
}

TEST(Filters, ReadLabelsWithDotsAndQuotedOnes) {
  Info info = sample();
  info.labels["a.b.c"] = "1";

  EXPECT_TRUE(Filters::parse(std::vector<std::string>{"labels.a.b.c==1"})->match(info));
  EXPECT_TRUE(Filters::parse(std::vector<std::string>{R"(labels."a.b".c==1)"})->match(info));
}

TEST(Filters, ReadGosEscapes) {
  Info info = sample();
  info.name = "tab\there \"quoted\" back\\slash \xc3\xa9 \xe2\x82\xac";

  EXPECT_TRUE(Filters::parse(std::vector<std::string>{
                                 R"(name=="tab\there \"quoted\" back\\slash \303\xa9 \u20ac")"})
                  ->match(info));
}

TEST(Filters, ReadPatternsBetweenTheQuotesThatPatternsHave) {
  EXPECT_TRUE(matches({"name~=/^k8s[.]io.*a$/"}));
  EXPECT_TRUE(matches({"name~=|sha256:a,?$|,kind==committed"}));
  EXPECT_FALSE(Filters::parse(std::vector<std::string>{"name==/a/"}));
}

TEST(Filters, MatchAHostilePatternInLinearTime) {
  Info info = sample();
  info.name = std::string(4000, 'a');

  EXPECT_FALSE(Filters::parse(std::vector<std::string>{"name~=^(a|a)*(a|aa)*b$"})->match(info));
  EXPECT_FALSE(Filters::parse(std::vector<std::string>{"name~=((a{1000}){1000}){1000}"}));
}

TEST(Filters, RefuseWhatTheyDoNotKnow) {
  for (const std::string bad :
       {"size==1", "name=1", "labels==x", "labels.", "name~=(", "name==\"x", "name==", "name==a,",
        ",name", "name===a", "name==a b", "name=>a", "name==.a", "labels.\"x", "name==\"\\q\"",
        "name==\"\\777\"", "name==\"\\ud800\"", "name==\"\\", "na-me==a"}) {
    EXPECT_FALSE(Filters::parse(std::vector{bad})) << bad;
  }
  EXPECT_FALSE(Filters::parse(std::vector{std::string("name==") + std::string(4096, 'a')}));
  EXPECT_FALSE(Filters::parse(std::vector(129, std::string("name==a"))));
}

}  // namespace
}  // namespace runnel::snapshot
