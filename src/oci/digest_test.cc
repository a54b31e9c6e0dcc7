#include "oci/digest.h"

#include <gtest/gtest.h>

namespace runnel::oci {
namespace {

constexpr auto kSha256OfAbc =
    "sha256:ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";

TEST(Digest, HashesTheStandardExamples) {
  EXPECT_EQ(Digest::of(as_bytes("abc")).to_string(), kSha256OfAbc);
  EXPECT_EQ(Digest::of(as_bytes("abc"), Algorithm::kSha512).to_string(),
            "sha512:ddaf35a193617abacc417349ae20413112e6fa4e89a97ea20a9eeee64b55d39a"
            "2192992a274fc1a836ba3c23a3feebbd454d4423643ce80e2a9ac94fa54ca49f");
}

TEST(Digest, ReadsBackItsText) {
  const auto digest = Digest::parse(kSha256OfAbc);

  ASSERT_TRUE(digest);
  EXPECT_EQ(*digest, Digest::of(as_bytes("abc")));
  EXPECT_EQ(digest->algorithm(), Algorithm::kSha256);
  EXPECT_EQ(digest->hex().size(), 64u);
  EXPECT_EQ(Digest::from_sha256(digest->sha256_value().value()), *digest);
}

TEST(Digest, RefusesEverythingElse) {
  const std::string hex(64, 'a');

  for (const std::string& text :
       {std::string(), hex, std::string("sha256:"), "sha256:" + hex.substr(1),
        "sha256:" + hex + "a", "SHA256:" + hex, "sha256:" + std::string(64, 'A'),
        "sha256:" + std::string(64, 'g'), "sha512:" + hex, "md5:" + hex,
        "sha256:../" + hex.substr(3), "sha256+b64:" + hex, ":" + hex,
        std::string("sha256:baddigeststring"), "sha256:" + hex + "\n"})
    EXPECT_FALSE(Digest::parse(text)) << text;
}

// It is whatever a registry wrote, and messages end in logs and on terminals.
TEST(Digest, IsQuotedWhereItIsRefused) {
  EXPECT_EQ(Digest::parse("\x1b]0;a\xce\n").error().message,
            R"("\x1b]0;a\xce\x0a" is not a digest (ALGORITHM:HEX))");
  EXPECT_EQ(Digest::parse("\x1b:").error().message,
            R"(digest algorithm "\x1b" is not sha256 or sha512)");
  EXPECT_TRUE(Digest::parse("sha256:\n").error().message.starts_with(R"("sha256:\x0a" is not)"));
}

TEST(Digest, OfSha512HasNoSha256Value) {
  EXPECT_EQ(Digest::of({}, Algorithm::kSha512).sha256_value().error().code, Code::kUnsupported);
  EXPECT_FALSE(Digest().sha256_value());
}

TEST(Digester, HashesPiecesAsTheWholeAndStartsAnew) {
  Digester digester;

  digester.update(as_bytes("a"));
  digester.update({});
  digester.update(as_bytes("bc"));

  EXPECT_EQ(digester.finish().to_string(), kSha256OfAbc);
  EXPECT_EQ(digester.finish(), Digest::of({}));
}

}  // namespace
}  // namespace runnel::oci
