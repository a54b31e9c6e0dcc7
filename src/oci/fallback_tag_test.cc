#include "oci/fallback_tag.h"

#include <gtest/gtest.h>

namespace runnel::oci {
namespace {

TEST(FallbackTag, FitsATag) {
  EXPECT_EQ(fallback_tag(Digest::of({})),
            "sha256-e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
  EXPECT_EQ(fallback_tag(Digest::of({}, Algorithm::kSha512)).size(), 7 + 64u);
}

}  // namespace
}  // namespace runnel::oci
