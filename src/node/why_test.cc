#include "node/why.h"

#include <gtest/gtest.h>

namespace runnel::node {
namespace {

std::vector<ContainerStatus> containers(const std::vector<std::string>& ids) {
  std::vector<ContainerStatus> out(ids.size());
  for (size_t i = 0; i < ids.size(); ++i) out[i].id = ids[i];
  return out;
}

std::string found(const std::vector<std::string>& ids, const std::string& name) {
  const auto one = find_container(containers(ids), name);
  if (!one) return one.error().message;
  return *one ? (*one)->id : "none";
}

TEST(WhyContainer, IsTheOneOfThatIdOrTheOnlyOneThatBeginsSo) {
  EXPECT_EQ(found({"abcdef", "abcd"}, "abcd"), "abcd") << "though another begins so, too";
  EXPECT_EQ(found({"web-12", "web-13", "web-1"}, "web-1"), "web-1") << "though two others do";
  EXPECT_EQ(found({"abcdef", "xyz"}, "abcd"), "abcdef");
  EXPECT_EQ(found({"abcdef", "xyz"}, "abc"), "none") << "three letters are too few";
  EXPECT_EQ(found({"abcdef"}, "team/app"), "none");
}

TEST(WhyContainer, IsAskedForMoreOfWhenSeveralBeginSo) {
  EXPECT_EQ(found({"abcdef", "abcdxy"}, "abcd"),
            R"("abcdef" and "abcdxy" both begin like "abcd": say more of the one that is meant)");
}

}  // namespace
}  // namespace runnel::node
