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

TEST(Filters, RefuseWhatTheyDoNotKnow) {
  for (const std::string bad : {"size==1", "name=1", "labels==x", "name~=(", "name==\"x"}) {
    EXPECT_FALSE(Filters::parse(std::vector{bad})) << bad;
  }
}

}  // namespace
}  // namespace runnel::snapshot
