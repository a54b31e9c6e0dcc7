#include "registry/byte_range.h"

#include <gtest/gtest.h>

namespace runnel::registry {
namespace {

std::string answer(std::string_view header, uint64_t size) {
  const auto range = range_of(header, size);
  if (std::holds_alternative<WholeBody>(range)) return "whole";
  if (std::holds_alternative<NoSuchRange>(range)) return "none";
  const auto& [first, last] = std::get<ByteRange>(range);
  return fmt::format("{}-{}", first, last);
}

TEST(Range, GivesFirstAndLastByte) {
  EXPECT_EQ(answer("bytes=0-0", 10), "0-0");
  EXPECT_EQ(answer("bytes=2-5", 10), "2-5");
  EXPECT_EQ(answer("bytes=9-", 10), "9-9");
  EXPECT_EQ(answer("bytes=0-", 10), "0-9");
  EXPECT_EQ(answer(" bytes= 2-5 ", 10), "2-5");
}

TEST(Range, CutsAnEndBeyondTheEnd) {
  EXPECT_EQ(answer("bytes=5-100", 10), "5-9");
  EXPECT_EQ(answer("bytes=5-18446744073709551615", 10), "5-9");
}

TEST(Range, TakesTheLastBytesOfASuffix) {
  EXPECT_EQ(answer("bytes=-3", 10), "7-9");
  EXPECT_EQ(answer("bytes=-10", 10), "0-9");
  EXPECT_EQ(answer("bytes=-500", 10), "0-9");
  EXPECT_EQ(answer("bytes=-0", 10), "none");
}

TEST(Range, CannotBeSatisfiedOutsideTheBlob) {
  EXPECT_EQ(answer("bytes=10-", 10), "none");
  EXPECT_EQ(answer("bytes=10-20", 10), "none");
  EXPECT_EQ(answer("bytes=500-0", 1000), "none");
  EXPECT_EQ(answer("bytes=0-", 0), "none");
  EXPECT_EQ(answer("bytes=-1", 0), "none");
}

TEST(Range, IsIgnoredWhenItIsNoneOrSeveral) {
  for (const auto* header :
       {"", "bytes", "bytes=", "bytes=-", "bytes=a-b", "bytes=1-x", "items=0-1", "bytes=0-1,3-4",
        "bytes=99999999999999999999-", "bytes=+1-2", "bytes=0x1-2"})
    EXPECT_EQ(answer(header, 10), "whole") << header;
}

TEST(ContentRange, IsReadInBothForms) {
  EXPECT_EQ(parse_content_range("0-99").value(), (ByteRange{0, 99}));
  EXPECT_EQ(parse_content_range("bytes 5-5/10").value(), (ByteRange{5, 5}));
  EXPECT_EQ(parse_content_range("bytes 5-9/*").value(), (ByteRange{5, 9}));
  EXPECT_EQ(parse_content_range("5-9")->size(), 5u);
}

TEST(ContentRange, IsRefusedWhenItIsNone) {
  for (const auto* header :
       {"", "-", "5", "5-", "-5", "9-5", "a-b", "0-18446744073709551615", "99999999999999999999-1"})
    EXPECT_FALSE(parse_content_range(header)) << header;
}

}  // namespace
}  // namespace runnel::registry
