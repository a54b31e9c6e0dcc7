#include "base/bytes.h"

#include <gtest/gtest.h>

namespace runnel {
namespace {

TEST(ByteReader, ReadsBackWhatByteWriterWrote) {
  ByteWriter writer;
  writer.u8(7);
  writer.u16(0x1234);
  writer.u32(0xdeadbeef);
  writer.u64(~uint64_t{0});
  writer.varint(0);
  writer.varint(300);
  writer.varint(~uint64_t{0});
  writer.bytes(as_bytes("tail"));

  ByteReader reader(writer.view(), "test");

  EXPECT_EQ(reader.u8().value(), 7);
  EXPECT_EQ(reader.u16().value(), 0x1234);
  EXPECT_EQ(reader.u32().value(), 0xdeadbeef);
  EXPECT_EQ(reader.u64().value(), ~uint64_t{0});
  EXPECT_EQ(reader.varint().value(), 0u);
  EXPECT_EQ(reader.varint().value(), 300u);
  EXPECT_EQ(reader.varint().value(), ~uint64_t{0});
  EXPECT_EQ(as_text(reader.bytes(4).value()), "tail");
  EXPECT_TRUE(reader.at_end());
}

TEST(ByteReader, FailsInsteadOfReadingPastTheEnd) {
  const Buffer three(3);
  ByteReader reader(three, "test");

  EXPECT_FALSE(reader.u32());
  EXPECT_FALSE(reader.bytes(~uint64_t{0}));
  EXPECT_EQ(reader.remaining(), 3u);
}

TEST(ByteReader, RefusesOverlongAndTooLargeVarints) {
  const std::byte overlong[] = {std::byte{0x80}, std::byte{0x00}};
  Buffer too_large(9, std::byte{0xff});
  too_large.push_back(std::byte{0x02});

  EXPECT_FALSE(ByteReader(overlong, "test").varint());
  EXPECT_FALSE(ByteReader(too_large, "test").varint());
}

TEST(Hex, RoundTripsAndRefusesWhatIsNotHex) {
  const Buffer bytes = {std::byte{0x00}, std::byte{0xa5}, std::byte{0xff}};

  EXPECT_EQ(to_hex(bytes), "00a5ff");
  EXPECT_EQ(from_hex("00a5ff").value(), bytes);
  EXPECT_FALSE(from_hex("0"));
  EXPECT_FALSE(from_hex("0G"));
  EXPECT_FALSE(from_hex("AB"));
}

}  // namespace
}  // namespace runnel
