#include "base/utf8.h"

#include <gtest/gtest.h>

namespace runnel {
namespace {

TEST(Utf8, KnowsHowManyBytesACharacterHas) {
  EXPECT_EQ(utf8_size("ab"), 1u);
  EXPECT_EQ(utf8_size(std::string_view("\0", 1)), 1u);
  EXPECT_EQ(utf8_size("\u00e9x"), 2u);
  EXPECT_EQ(utf8_size("\u20ac"), 3u);
  EXPECT_EQ(utf8_size("\U0001f600"), 4u);
}

TEST(Utf8, KnowsWhatIsNoCharacter) {
  for (const auto* text : {"", "\x80", "\xff", "\xc3", "\xc3(", "\xe2\x82", "\xc0\x80",
                           "\xe0\x80\x80", "\xed\xa0\x80", "\xf4\x90\x80\x80", "\xf8\x88\x80\x80"})
    EXPECT_EQ(utf8_size(text), 0u) << text;
}

TEST(Utf8, IsWhatIsMadeOfAnyBytes) {
  EXPECT_EQ(to_utf8("caf\u00e9"), "caf\u00e9");
  EXPECT_EQ(to_utf8("a\xff\u20ac\xe2\x82"), "a\ufffd\u20ac\ufffd\ufffd");
  EXPECT_FALSE(is_utf8("a\xff"));
  EXPECT_TRUE(is_utf8(to_utf8("a\xff\xc0\x80")));
}

}  // namespace
}  // namespace runnel
