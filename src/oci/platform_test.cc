#include "oci/platform.h"

#include <gtest/gtest.h>

namespace runnel::oci {
namespace {

std::string normal(std::string_view text) {
  return to_string(normalized(parse_platform(text)));
}

bool takes(std::string_view wanted, std::string_view platform) {
  return matches(parse_platform(wanted), parse_platform(platform));
}

TEST(Platform, HasOneNormalForm) {
  EXPECT_EQ(normal("linux/arm64/v8"), "linux/arm64");
  EXPECT_EQ(normal("Linux/AArch64"), "linux/arm64");
  EXPECT_EQ(normal("linux/arm64/9"), "linux/arm64/v9");
  EXPECT_EQ(normal("linux/arm"), "linux/arm/v7");
  EXPECT_EQ(normal("linux/arm/6"), "linux/arm/v6");
  EXPECT_EQ(normal("linux/armhf"), "linux/arm/v7");
  EXPECT_EQ(normal("linux/x86_64"), "linux/amd64");
  EXPECT_EQ(normal("linux/amd64/v1"), "linux/amd64");
  EXPECT_EQ(normal("linux/i386/x"), "linux/386");
  for (const auto* text : {"linux/amd64/v3", "linux/s390x", "linux/riscv64", "unknown/unknown"})
    EXPECT_EQ(normal(text), text);
}

TEST(Platform, MatchesHoweverTheVariantIsWritten) {
  EXPECT_TRUE(takes("linux/arm64", "linux/arm64/v8"));
  EXPECT_TRUE(takes("linux/arm64/v8", "linux/arm64"));
  EXPECT_TRUE(takes("linux/arm/v7", "linux/arm"));
  EXPECT_TRUE(takes("linux/amd64/v1", "linux/amd64"));
}

TEST(Platform, MatchesEveryVariantWhenNoneIsWanted) {
  EXPECT_TRUE(takes("linux/arm", "linux/arm/v6"));
  EXPECT_TRUE(takes("linux/amd64", "linux/amd64/v3"));
}

TEST(Platform, DoesNotMatchAnother) {
  EXPECT_FALSE(takes("linux/arm/v7", "linux/arm/v6"));
  EXPECT_FALSE(takes("linux/amd64/v1", "linux/amd64/v3"));
  EXPECT_FALSE(takes("linux/arm64", "linux/amd64"));
  EXPECT_FALSE(takes("linux/arm64", "windows/arm64"));
}

}  // namespace
}  // namespace runnel::oci
