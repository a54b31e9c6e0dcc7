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
