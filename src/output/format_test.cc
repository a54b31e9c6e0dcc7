#include "output/format.h"

#include <gtest/gtest.h>
#include <yaml-cpp/yaml.h>

#include <boost/json.hpp>

namespace runnel::output {
namespace {

namespace json = boost::json;

std::string shown(std::string_view document, Format format) {
  return write(json::parse(document), format);
}

TEST(format, names_are_those_of_the_flag) {
  EXPECT_EQ(*parse_format("tsv"), Format::kTsv);
  EXPECT_TRUE(parse_format("xml").error().message.contains("json, jsonc, table, tsv, yaml"));
}

TEST(format, json_is_indented_and_reads_back) {
  const char* document = R"({"a":[1,{"b":"é\n"}],"c":{},"d":[],"e":null})";
  const auto text = shown(document, Format::kJson);
  EXPECT_EQ(text,
            "{\n  \"a\": [\n    1,\n    {\n      \"b\": \"é\\n\"\n    }\n  ],\n  \"c\": {},\n"
            "  \"d\": [],\n  \"e\": null\n}\n");
  EXPECT_EQ(json::parse(text), json::parse(document));
}

TEST(format, jsonc_is_json_with_colours) {
  EXPECT_EQ(shown(R"({"a":"b","n":1})", Format::kJsonc),
            "{\n  \033[94m\"a\"\033[39m: \033[32m\"b\"\033[39m,\n"
            "  \033[94m\"n\"\033[39m: \033[36m1\033[39m\n}\n");
}

TEST(format, a_table_has_columns_of_all_rows_and_leaves_out_what_is_nested) {
  EXPECT_EQ(
      shown(R"([{"name":"héllo","n":1,"in":{"x":1}},{"name":"b","last":true}])", Format::kTable),
      "Name   N  Last\n"
      "-----  -  ----\n"
      "héllo  1\n"
      "b         true\n");
}

TEST(format, a_table_of_one_list_in_an_object_is_one_of_the_list) {
  EXPECT_EQ(shown(R"({"repositories":["a","team/app"]})", Format::kTable),
            "Result\n--------\na\nteam/app\n");
  EXPECT_EQ(shown(R"({"manifests":[{"digest":"d"}]})", Format::kTable), "Digest\n------\nd\n");
  EXPECT_EQ(shown(R"({"manifests":[]})", Format::kTable), "");
}

TEST(format, lines_have_a_row_for_each_element) {
  EXPECT_EQ(shown(R"("secret")", Format::kTsv), "secret\n");
  EXPECT_EQ(shown(R"(["a",1,true,null])", Format::kTsv), "a\n1\ntrue\n\n");
  EXPECT_EQ(shown(R"([["a",[1,2]],{"x":"b","y":{"z":1},"w":2}])", Format::kTsv), "a\t2\nb\t\t2\n");
  EXPECT_EQ(shown("null", Format::kTsv), "");
  EXPECT_EQ(shown("[]", Format::kTsv), "");
}

TEST(format, a_terminal_obeys_nothing_of_a_document) {
  const char* document = R"(["\u001b[2J\ttab"])";
  EXPECT_EQ(shown(document, Format::kTsv), "\\x1b[2J\\x09tab\n");
  for (const auto format : {Format::kJson, Format::kTable, Format::kTsv, Format::kYaml})
    EXPECT_FALSE(shown(document, format).contains('\033'));
}

TEST(format, yaml_reads_back_with_the_types_it_had) {
  const auto text =
      shown(R"({"progress":"8%","count":8,"text":"8","no":"no","yes":true,"digest":"sha256:ab",)"
            R"("empty":"","none":null,"lists":[[],{},["a: b","line\nbreak","- x"]],"colon":"a:"})",
            Format::kYaml);
  const auto read = YAML::Load(text);
  EXPECT_EQ(read["progress"].as<std::string>(), "8%");
  EXPECT_EQ(read["count"].Tag(), "?");
  EXPECT_EQ(read["count"].as<int>(), 8);
  EXPECT_EQ(read["text"].Tag(), "!");  // quoted
  EXPECT_EQ(read["no"].Tag(), "!");
  EXPECT_EQ(read["no"].as<std::string>(), "no");
  EXPECT_TRUE(read["yes"].as<bool>());
  EXPECT_EQ(read["digest"].as<std::string>(), "sha256:ab");
  EXPECT_EQ(read["empty"].as<std::string>(), "");
  EXPECT_TRUE(read["none"].IsNull());
  EXPECT_EQ(read["lists"][0].size(), 0);
  EXPECT_TRUE(read["lists"][1].IsMap());
  EXPECT_EQ(read["lists"][2][0].as<std::string>(), "a: b");
  EXPECT_EQ(read["lists"][2][1].as<std::string>(), "line\nbreak");
  EXPECT_EQ(read["lists"][2][2].as<std::string>(), "- x");
  EXPECT_EQ(read["colon"].as<std::string>(), "a:");
}

}  // namespace
}  // namespace runnel::output
