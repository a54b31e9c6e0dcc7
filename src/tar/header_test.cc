#include "tar/header.h"

#include <gtest/gtest.h>

#include <algorithm>

#include "support/tar_builder.h"

namespace runnel::tar {
namespace {

using test::kGnuMagic;
using test::kV7Magic;
using test::tar_header;

Block block_of(const Buffer& bytes) {
  Block block;
  std::ranges::copy(bytes, block.begin());
  return block;
}

std::string_view bytes(std::string_view text) {
  return text;
}
template <size_t N>
Result<int64_t> number(const char (&text)[N]) {
  return parse_number(as_bytes(bytes({text, N - 1})));
}

TEST(TarHeader, ReadsEveryFieldOfUstar) {
  Buffer raw = tar_header({.name = "hosts",
                           .type = '3',
                           .size = 123,
                           .mode = 04755,
                           .uid = 1000,
                           .gid = 1001,
                           .mtime = 1700000000,
                           .link_name = "target",
                           .dev_major = 8,
                           .dev_minor = 17});
  test::patch_header(raw, 345, "etc/deep");

  const Header header = parse_header(block_of(raw)).value();

  EXPECT_EQ(header.dialect, Dialect::kUstar);
  EXPECT_EQ(header.type_flag, '3');
  EXPECT_EQ(header.name, "etc/deep/hosts");
  EXPECT_EQ(header.link_name, "target");
  EXPECT_EQ(header.mode, 04755);
  EXPECT_EQ(header.uid, 1000);
  EXPECT_EQ(header.gid, 1001);
  EXPECT_EQ(header.size, 123);
  EXPECT_EQ(header.mtime, 1700000000);
  EXPECT_EQ(header.dev_major, 8);
  EXPECT_EQ(header.dev_minor, 17);
}

TEST(TarHeader, KnowsTheDialects) {
  Buffer star = tar_header({.name = "a"});
  test::patch_header(star, 508, bytes({"tar\0", 4}));

  EXPECT_EQ(parse_header(block_of(tar_header({.name = "a"})))->dialect, Dialect::kUstar);
  EXPECT_EQ(parse_header(block_of(tar_header({.name = "a", .magic = kGnuMagic})))->dialect,
            Dialect::kGnu);
  EXPECT_EQ(parse_header(block_of(tar_header({.name = "a", .magic = kV7Magic})))->dialect,
            Dialect::kV7);
  EXPECT_EQ(parse_header(block_of(star))->dialect, Dialect::kStar);
}

TEST(TarHeader, TakesNamesThatFillTheirFields) {
  const std::string hundred(100, 'n');
  Buffer raw = tar_header({.name = hundred, .link_name = hundred});
  test::patch_header(raw, 345, std::string(155, 'p'));

  const Header header = parse_header(block_of(raw)).value();

  EXPECT_EQ(header.name, std::string(155, 'p') + "/" + hundred);
  EXPECT_EQ(header.link_name, hundred);
}

TEST(TarHeader, RejectsAFlippedBitAnywhereButInTheChecksumField) {
  const Block good = block_of(tar_header({.name = "etc/hosts", .size = 1}));

  for (size_t at = 0; at < good.size(); ++at) {
    if (at >= 148 && at < 156) continue;
    Block bad = good;
    bad[at] ^= std::byte{1};
    EXPECT_FALSE(parse_header(bad)) << at;
  }
}

TEST(TarHeader, AcceptsAChecksumOfSignedBytes) {
  Buffer raw = tar_header({.name = "\xff\xfe"});
  const auto sum = std::stoul(std::string(as_text(Bytes(raw).subspan(148, 6))), nullptr, 8);
  const std::string signed_sum = fmt::format("{:06o}", sum - 2 * 256);
  std::ranges::copy(as_bytes(signed_sum), raw.begin() + 148);

  EXPECT_EQ(parse_header(block_of(raw))->name, "\xff\xfe");
}

TEST(TarHeader, RejectsABadNumberEvenWhereTheTypeHasNoUseForIt) {
  Buffer raw = tar_header({.name = "a"});
  test::patch_header(raw, 329, "xyz");

  const auto header = parse_header(block_of(raw));

  ASSERT_FALSE(header);
  EXPECT_EQ(header.error(), Error(Code::kInvalid, "the devmajor field: not an octal number"));
}

TEST(TarHeader, IgnoresTheDeviceFieldsOfV7) {
  Buffer raw = tar_header({.name = "a", .magic = kV7Magic});
  test::patch_header(raw, 329, "xyz");

  EXPECT_TRUE(parse_header(block_of(raw)));
}

TEST(TarHeader, TakesAPrefixFromAGnuHeaderWhoseTimesAreNone) {
  Buffer times = tar_header({.name = "a", .magic = kGnuMagic});
  test::patch_header(times, 345, "01234567012");
  Buffer prefix = tar_header({.name = "a", .magic = kGnuMagic});
  test::patch_header(prefix, 345, "some/directory");
  Buffer neither = tar_header({.name = "a", .magic = kGnuMagic});
  test::patch_header(neither, 345, "some/d\xc3\xafrectory");

  EXPECT_EQ(parse_header(block_of(times))->name, "a");
  EXPECT_EQ(parse_header(block_of(prefix))->name, "some/directory/a");
  EXPECT_EQ(parse_header(block_of(neither))->name, "a");
}

TEST(TarNumber, ReadsOctalWithAnyPadding) {
  EXPECT_EQ(number("0000644\0"), 0644);
  EXPECT_EQ(number("   644 \0"), 0644);
  EXPECT_EQ(number("\0\0 644  "), 0644);
  EXPECT_EQ(number("644\0junk"), 0644);
  EXPECT_EQ(number("77777777777"), 077777777777);
  EXPECT_EQ(number("\0\0\0\0\0\0\0\0"), 0);
  EXPECT_EQ(number("        "), 0);
}

TEST(TarNumber, RejectsWhatIsNotOctal) {
  EXPECT_FALSE(number("0000648\0"));
  EXPECT_FALSE(number("-000644\0"));
  EXPECT_FALSE(number("+000644\0"));
  EXPECT_FALSE(number("64 4"));
  EXPECT_FALSE(number("0x44"));
}

TEST(TarNumber, ReadsBinaryOfBothSigns) {
  EXPECT_EQ(number("\x80\0\0\0\0\0\0\x01"), 1);
  EXPECT_EQ(number("\x80\0\0\0\0\0\0\0\x02\0\0\0"), int64_t{1} << 25);
  EXPECT_EQ(number("\xff\xff\xff\xff\xff\xff\xff\xff"), -1);
  EXPECT_EQ(number("\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\x00"), -256);
  EXPECT_EQ(number("\x80\0\0\0\x7f\xff\xff\xff\xff\xff\xff\xff"),
            std::numeric_limits<int64_t>::max());
  EXPECT_EQ(number("\xff\xff\xff\xff\x80\0\0\0\0\0\0\0"), std::numeric_limits<int64_t>::min());
}

TEST(TarNumber, RejectsBinaryAboveSixtyFourBits) {
  EXPECT_FALSE(number("\x80\0\0\0\x80\0\0\0\0\0\0\0"));
  EXPECT_FALSE(number("\x80\0\0\x01\0\0\0\0\0\0\0\0"));
  EXPECT_FALSE(number("\xff\xff\xff\xff\x7f\xff\xff\xff\xff\xff\xff\xff"));
}

}  // namespace
}  // namespace runnel::tar
