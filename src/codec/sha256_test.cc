#include "codec/sha256.h"

#include <gtest/gtest.h>

namespace runnel::codec {
namespace {

// FIPS 180-4's examples.
constexpr std::string_view kAbc =
    "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
constexpr std::string_view kEmpty =
    "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";

TEST(Sha256, GivesTheStandardsExamples) {
  EXPECT_EQ(to_hex(sha256(as_bytes("abc"))), kAbc);
  EXPECT_EQ(to_hex(sha256({})), kEmpty);
}

TEST(Sha256, DoesNotCareHowTheBytesAreCut) {
  Sha256 hash;
  hash.update(as_bytes("a"));
  hash.update({});
  hash.update(as_bytes("bc"));

  EXPECT_EQ(to_hex(hash.finish()), kAbc);
}

// What the bytes are fetched ahead in must not show: lengths around the pieces' ends.
TEST(Sha256, GivesTheSameWhateverTheLength) {
  Buffer bytes(3 * 4096 + 1);
  for (size_t i = 0; i < bytes.size(); ++i) bytes[i] = static_cast<std::byte>(i / 7);
  for (const size_t size : {1023u, 1024u, 1025u, 4095u, 4096u, 5119u, 5120u, 5121u, 12289u}) {
    Sha256 by_bytes;
    for (size_t i = 0; i < size; ++i) by_bytes.update(Bytes(bytes).subspan(i, 1));
    EXPECT_EQ(to_hex(sha256(Bytes(bytes).first(size))), to_hex(by_bytes.finish())) << size;
  }
}

// FIPS 180-4's long example: a million times "a".
TEST(Sha256, GivesTheStandardsLongExample) {
  const Buffer bytes(1'000'000, std::byte{'a'});
  EXPECT_EQ(to_hex(sha256(bytes)),
            "cdc76e5c9914fb9281a1c7e284d73e67f1809a48a497200e046d39ccc7112cd0");
}

TEST(Sha256, StartsAnewAfterFinish) {
  Sha256 hash;
  hash.update(as_bytes("something else"));
  hash.finish();
  hash.update(as_bytes("abc"));

  EXPECT_EQ(to_hex(hash.finish()), kAbc);
  EXPECT_EQ(to_hex(hash.finish()), kEmpty);
}

}  // namespace
}  // namespace runnel::codec
