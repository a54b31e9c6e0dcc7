#include "artifact/profile.h"

#include <gmock/gmock.h>

namespace runnel::artifact {
namespace {

using testing::HasSubstr;

Profile sample() {
  return {.image = "127.0.0.1:5000/app@sha256:ab",
          .layers = {oci::Digest::of(as_bytes("one")), oci::Digest::of(as_bytes("two"))},
          .chunks = {{.layer = 1, .chunk = 70'000}, {.layer = 0, .chunk = 3}}};
}

void expect_refused(std::string_view json, Code code, const char* message) {
  const auto parsed = parse_profile(as_bytes(json));
  ASSERT_FALSE(parsed) << json;
  EXPECT_EQ(parsed.error().code, code) << parsed.error().message;
  EXPECT_THAT(parsed.error().message, HasSubstr(message));
}

TEST(Profile, ComesBackAsItWasWritten) {
  const auto parsed = parse_profile(as_bytes(to_json(sample())));

  ASSERT_TRUE(parsed) << parsed.error().message;
  EXPECT_EQ(*parsed, sample());
}

TEST(Profile, IsRefusedWithAReason) {
  expect_refused("[]", Code::kInvalid, "no JSON object");
  expect_refused("{\"layers\":[],\"chunks\":[]}", Code::kInvalid, "no version");
  expect_refused(R"({"version":2,"layers":[],"chunks":[]})", Code::kUnsupported, "version \"2\"");
  expect_refused(R"({"version":1,"layers":[]})", Code::kInvalid, "\"chunks\"");
  expect_refused(R"({"version":1,"layers":[7],"chunks":[]})", Code::kInvalid, "no string");
  expect_refused(R"({"version":1,"layers":["sha256:x"],"chunks":[]})", Code::kInvalid, "");
  expect_refused(R"({"version":1,"layers":[],"chunks":[[0,1]]})", Code::kInvalid, "no layer");
  expect_refused(R"({"version":1,"layers":[],"chunks":[[0]]})", Code::kInvalid, "[layer, chunk]");
  const auto layer = sample().layers[0].to_string();
  for (const auto* chunk : {"-1", "16777216", "1.5", "\"a\"", "null", "[]"}) {
    expect_refused(
        fmt::format(R"({{"version":1,"layers":["{}"],"chunks":[[0,{}]]}})", layer, chunk),
        Code::kInvalid, "no chunk");
  }
}

TEST(Profile, IsRefusedInFewWordsWhateverItIs) {
  const std::string long_text(100'000, 'x');
  const auto layer = sample().layers[0].to_string();
  for (const auto& json :
       {fmt::format(R"({{"version":"{}","layers":[],"chunks":[]}})", long_text),
        fmt::format(R"({{"version":1,"layers":["{}"],"chunks":["{}"]}})", layer, long_text),
        fmt::format(R"({{"version":1,"layers":["{}"],"chunks":[[0,"{}"]]}})", layer, long_text)}) {
    const auto parsed = parse_profile(as_bytes(json));
    ASSERT_FALSE(parsed);
    EXPECT_LT(parsed.error().message.size(), 1000u);
  }
}

}  // namespace
}  // namespace runnel::artifact
