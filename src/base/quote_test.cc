#include "base/quote.h"

#include <gtest/gtest.h>

namespace runnel {
namespace {

TEST(Quote, KeepsWhatIsPrintableAndEscapesTheRest) {
  EXPECT_EQ(quote("/etc/hosts"), "\"/etc/hosts\"");
  EXPECT_EQ(quote("a\nb\x1b\"\\"), "\"a\\x0ab\\x1b\\x22\\x5c\"");
  EXPECT_EQ(quote("\xff\xc3\xa9"), "\"\\xff\\xc3\\xa9\"");
  EXPECT_EQ(quote(""), "\"\"");
}

TEST(Quote, CutsWhatIsTooLong) {
  EXPECT_EQ(quote(std::string(513, 'a')), '"' + std::string(512, 'a') + "\"…");
}

}  // namespace
}  // namespace runnel
