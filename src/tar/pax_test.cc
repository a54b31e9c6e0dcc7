#include "tar/pax.h"

#include <gtest/gtest.h>

#include "support/tar_builder.h"

namespace runnel::tar {
namespace {

using test::pax_record;

TEST(PaxRecords, KeepTheLastValueOfAKey) {
  const auto records = PaxRecords::parse(pax_record("path", "first") + pax_record("path", "last"));

  EXPECT_EQ(records->get("path"), "last");
}

TEST(PaxRecords, TakeAnEmptyValueAsNone) {
  const auto records =
      PaxRecords::parse(pax_record("path", "a") + pax_record("path", "") + pax_record("size", ""));

  EXPECT_EQ(records->get("path"), "");
  EXPECT_EQ(records->number("size", 7), 7);
}

TEST(PaxRecords, CountTheirLengthWithItself) {
  // The length grows by a digit at 10, 100 and 1000 bytes.
  for (const size_t size : {1, 2, 3, 88, 89, 90, 91, 92, 985, 986, 987, 988, 989}) {
    const std::string value(size, 'v');
    EXPECT_EQ(PaxRecords::parse(pax_record("path", value))->get("path"), value) << size;
  }
}

TEST(PaxRecords, HoldAnyBytesInValues) {
  const std::string value("\n=\0\xff", 4);
  const auto records = PaxRecords::parse(pax_record("SCHILY.xattr.user.a", value));

  const auto xattrs = records->xattrs().value();
  ASSERT_EQ(xattrs.size(), 1u);
  EXPECT_EQ(xattrs[0].first, "user.a");
  EXPECT_EQ(as_text(xattrs[0].second), value);
}

TEST(PaxRecords, GiveAttributesInOrderAndWithEmptyValues) {
  const auto records = PaxRecords::parse(pax_record("SCHILY.xattr.user.b", "2") +
                                         pax_record("SCHILY.xattr.user.a", "") +
                                         pax_record("LIBARCHIVE.xattr.user.c", "Mw"));

  const auto xattrs = records->xattrs().value();

  ASSERT_EQ(xattrs.size(), 2u);
  EXPECT_EQ(xattrs[0], std::pair("user.a" + std::string(), Buffer()));
  EXPECT_EQ(xattrs[1].first, "user.b");
}

TEST(PaxRecords, RefuseAnAttributeWithoutAName) {
  EXPECT_FALSE(PaxRecords::parse(pax_record("SCHILY.xattr.", "x"))->xattrs());
}

TEST(PaxRecords, RefuseNulsInKeysPathsAndNames) {
  const std::string nul("a\0b", 3);

  EXPECT_FALSE(PaxRecords::parse(pax_record("path", nul)));
  EXPECT_FALSE(PaxRecords::parse(pax_record("linkpath", nul)));
  EXPECT_FALSE(PaxRecords::parse(pax_record("uname", nul)));
  EXPECT_FALSE(PaxRecords::parse(pax_record(nul, "a")));
  EXPECT_TRUE(PaxRecords::parse(pax_record("comment", nul)));
}

TEST(PaxRecords, RefuseBrokenRecords) {
  for (const char* text : {"", "6 a=b\n", "+7 a=b\n", "07 a=b\n"})
    EXPECT_TRUE(PaxRecords::parse(text)) << text;
  for (const char* text :
       {" ", "a", "6", "6 ", "5 a=b\n", "7 a=b\n", "99 a=b\n", "-6 a=b\n", "6 a=bc", "6 abc\n",
        "6 =bc\n", "6  a=b\n", "2 ", "0 a=b\n", "9223372036854775807 a=b\n",
        "9223372036854775808 a=b\n", "6 a=b\n6 a=b", "6 a=b\n\n"})
    EXPECT_FALSE(PaxRecords::parse(text)) << text;
}

TEST(PaxRecords, JoinTheNumbersOfSparseFormatZero) {
  const auto records = PaxRecords::parse(
      pax_record("GNU.sparse.offset", "0") + pax_record("GNU.sparse.numbytes", "5") +
      pax_record("GNU.sparse.offset", "100") + pax_record("GNU.sparse.numbytes", "7"));

  EXPECT_EQ(records->get("GNU.sparse.map"), "0,5,100,7");
}

TEST(PaxRecords, RefuseSparseNumbersOutOfTurn) {
  EXPECT_FALSE(PaxRecords::parse(pax_record("GNU.sparse.numbytes", "5")));
  EXPECT_FALSE(PaxRecords::parse(pax_record("GNU.sparse.offset", "0") +
                                 pax_record("GNU.sparse.offset", "1")));
  EXPECT_FALSE(PaxRecords::parse(pax_record("GNU.sparse.offset", "0,1")));
}

TEST(PaxDecimal, TakesASignAndNothingElse) {
  EXPECT_EQ(parse_decimal("0"), 0);
  EXPECT_EQ(parse_decimal("-12"), -12);
  EXPECT_EQ(parse_decimal("+12"), 12);
  EXPECT_EQ(parse_decimal("9223372036854775807"), std::numeric_limits<int64_t>::max());
  for (const char* text :
       {"", "+", "-", "+-1", "-+1", "++1", " 1", "1 ", "0x1", "1.0", "9223372036854775808"})
    EXPECT_FALSE(parse_decimal(text)) << text;
}

TEST(PaxTime, ReadsFractionsOfBothSigns) {
  EXPECT_EQ(parse_pax_time("12"), Time(12, 0));
  EXPECT_EQ(parse_pax_time("12."), Time(12, 0));
  EXPECT_EQ(parse_pax_time("12.5"), Time(12, 500'000'000));
  EXPECT_EQ(parse_pax_time("12.000000001999"), Time(12, 1));
  EXPECT_EQ(parse_pax_time("-1"), Time(-1, 0));
  EXPECT_EQ(parse_pax_time("-1.25"), Time(-2, 750'000'000));
  EXPECT_EQ(parse_pax_time("-0.5"), Time(-1, 500'000'000));
  EXPECT_EQ(parse_pax_time("-0.0"), Time(0, 0));
}

TEST(PaxTime, RefusesWhatIsNotATime) {
  for (const char* text :
       {"", ".", ".5", "-", "-.5", "1.5x", "1.-5", "1.5.5", "1e5", "-9223372036854775808.5"})
    EXPECT_FALSE(parse_pax_time(text)) << text;
}

}  // namespace
}  // namespace runnel::tar
