#include "base/json_record.h"

#include <gtest/gtest.h>

#include <boost/json.hpp>

namespace runnel {
namespace {

boost::json::object record(std::string_view text) {
  return parse_json_record(as_bytes(text)).value();
}

template <class T>
std::string why(const Result<T>& result) {
  return result ? "" : result.error().message;
}

TEST(JsonRecord, IsOneObject) {
  for (const auto* text : {"", "{", "[]", "1", "{} {}", "{\"a\":\"\xff\"}"}) {
    const auto parsed = parse_json_record(as_bytes(text));
    ASSERT_FALSE(parsed) << text;
    EXPECT_EQ(parsed.error().code, Code::kInvalid);
    EXPECT_EQ(parsed.error().message, "it is no JSON object");
  }
}

TEST(JsonRecord, GivesItsMembersByTheirTypes) {
  const auto all =
      record(R"({"yes": true, "text": "", "number": 4294967295, "list": [1], "texts": ["a", ""]})");

  EXPECT_EQ(bool_in(all, "yes"), true);
  EXPECT_EQ(text_in(all, "text"), "");
  EXPECT_EQ(number_in(all, "number"), 4294967295u);
  EXPECT_EQ(list_in(all, "list").value()->size(), 1u);
  EXPECT_EQ(texts_in(all, "texts"), (std::vector<std::string>{"a", ""}));
}

TEST(JsonRecord, NamesWhatIsAbsentOrSomethingElse) {
  for (const auto* text : {"{}", R"({"x": null})", R"({"x": {}})", R"({"x": -1.5})"}) {
    const auto all = record(text);
    EXPECT_EQ(why(bool_in(all, "x")), "\"x\" is no yes or no") << text;
    EXPECT_EQ(why(text_in(all, "x")), "\"x\" is no text") << text;
    EXPECT_EQ(why(list_in(all, "x")), "\"x\" is no list") << text;
    EXPECT_EQ(why(texts_in(all, "x")), "\"x\" is no list") << text;
    EXPECT_TRUE(why(number_in(all, "x")).ends_with("number")) << text;
  }
  EXPECT_FALSE(number_in(record(R"({"x": 4294967296})"), "x"));
  EXPECT_EQ(why(texts_in(record(R"({"x": ["a", 1]})"), "x")), "\"x\" holds more than texts");
}

TEST(JsonRecord, OfALaterVersionIsLeftToALaterProgram) {
  EXPECT_TRUE(check_version(record(R"({"version": 1})"), 1));
  EXPECT_EQ(check_version(record(R"({"version": 2})"), 1).error().code, Code::kUnsupported);
  EXPECT_EQ(check_version(record("{}"), 1).error().code, Code::kInvalid);
}

}  // namespace
}  // namespace runnel
