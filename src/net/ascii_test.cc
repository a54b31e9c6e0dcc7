#include "net/ascii.h"

#include <gtest/gtest.h>

namespace runnel::net {
namespace {

TEST(Ascii, HasLettersInBothCases) {
  EXPECT_EQ(lower("Bearer AZ az 09 @[`{"), "bearer az az 09 @[`{");
  EXPECT_EQ(lower("\xC3\x84"), "\xC3\x84") << "no letter of ASCII";
}

TEST(Ascii, IsTrimmedOfSpacesAndTabsAtItsEnds) {
  EXPECT_EQ(trimmed(" \t a \t b\t "), "a \t b");
  EXPECT_EQ(trimmed("\r\n"), "\r\n") << "an end of line is no blank";
  EXPECT_EQ(trimmed(" \t"), "");
  EXPECT_EQ(trimmed(""), "");
}

}  // namespace
}  // namespace runnel::net
