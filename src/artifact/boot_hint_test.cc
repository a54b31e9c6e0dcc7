#include "artifact/boot_hint.h"

#include <gtest/gtest.h>

namespace runnel::artifact {
namespace {

BootHint sample() {
  return {.blob = oci::Digest::of(as_bytes("boot")),
          .size = 12345,
          .head = 678,
          .base = oci::Digest::of(as_bytes("base"))};
}

TEST(BootHintHeader, IsReadAsItWasWritten) {
  EXPECT_EQ(parse_boot_hint(to_header(sample())).value(), sample());
}

TEST(BootHintHeader, IsOneLine) {
  EXPECT_EQ(to_header(sample()),
            fmt::format("{}; size=12345; head=678; base={}", sample().blob, sample().base));
}

TEST(BootHintHeader, IsRefusedWhenAnythingOfItIsMissingOrNotWhatItShouldBe) {
  const auto blob = sample().blob.to_string();
  const auto base = sample().base.to_string();
  for (const auto& header : {
           std::string(),
           blob,
           blob + "; size=1; head=1",
           blob + "; size=1; base=" + base,
           blob + "; size=1; base=" + base + "; head=1",
           blob + "; head=1; size=1; base=" + base,
           blob + "; size=; head=0; base=" + base,
           blob + "; size=0; head=0; base=" + base,
           blob + "; size=1; head=2; base=" + base,
           blob + "; size=9000000000; head=9000000000; base=" + base,
           blob + "; size=-1; head=0; base=" + base,
           blob + "; size=1x; head=0; base=" + base,
           blob + "; size=1; head=0x1; base=" + base,
           blob + "; size=99999999999999999999; head=1; base=" + base,
           blob + "; size=1; head=1; base=" + base + " ",
           "sha256:12; size=1; head=1; base=" + base,
           blob.substr(1) + "; size=1; head=1; base=" + base,
           blob + "; size=1; head=1; base=",
           "; size=1; head=1; base=" + base,
       }) {
    const auto parsed = parse_boot_hint(header);
    ASSERT_FALSE(parsed) << header;
    EXPECT_EQ(parsed.error().code, Code::kInvalid) << header;
  }
}

}  // namespace
}  // namespace runnel::artifact
