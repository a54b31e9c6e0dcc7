#include "output/query.h"

#include <gtest/gtest.h>

#include <boost/json.hpp>

namespace runnel::output {
namespace {

namespace json = boost::json;

// The answer as JSON, or "error: …".
std::string ask(std::string_view query, std::string_view document) {
  const auto parsed = Query::parse(query);
  if (!parsed) return "error: " + parsed.error().message;
  const auto answer = parsed->apply(json::parse(document));
  if (!answer) return "error: " + answer.error().message;
  return json::serialize(*answer);
}

struct Case {
  const char* query;
  const char* document;
  const char* answer;
};

void expect_all(std::initializer_list<Case> cases) {
  for (const auto& [query, document, answer] : cases)
    EXPECT_EQ(ask(query, document), answer) << query << " of " << document;
}

constexpr const char* kToken =
    R"({"name":"ci","credentials":{"passwords":[{"name":"password1","value":"s"},)"
    R"({"name":"password2","value":null}]}})";

TEST(query, picks_the_password_as_the_guide_does) {
  EXPECT_EQ(ask("credentials.passwords[0].value", kToken), R"("s")");
}

TEST(query, paths_and_indexes_lead_to_null_where_nothing_is) {
  expect_all({{"a.b", R"({"a":{"b":1}})", "1"},
              {"a.b", R"({"a":[1]})", "null"},
              {"a[-1]", R"({"a":[1,2]})", "2"},
              {"a[2]", R"({"a":[1,2]})", "null"},
              {"a[-9223372036854775808]", R"({"a":[1,2]})", "null"},
              {R"("a b"."c\"d")", R"({"a b":{"c\"d":3}})", "3"},
              {"[1][0]", "[[1],[2]]", "2"},
              {"@", "7", "7"},
              {"a.b.c", "null", "null"}});
}

TEST(query, slices_are_those_of_python) {
  const char* list = "[0,1,2,3,4]";
  expect_all({{"[1:3]", list, "[1,2]"},
              {"[:2]", list, "[0,1]"},
              {"[-2:]", list, "[3,4]"},
              {"[::2]", list, "[0,2,4]"},
              {"[::-1]", list, "[4,3,2,1,0]"},
              {"[3:0:-2]", list, "[3,1]"},
              {"[10:]", list, "[]"},
              {"[:9223372036854775807:9223372036854775807]", list, "[0]"},
              {"[::-9223372036854775807]", list, "[4]"},
              {"[1:]", R"("text")", "null"}});
}

TEST(query, projections_go_on_over_each_element_and_drop_nulls) {
  expect_all({{"a[*].b", R"({"a":[{"b":1},{"c":2},{"b":3}]})", "[1,3]"},
              {"a[*].b[0]", R"({"a":[{"b":[1,2]},{"b":[3]}]})", "[1,3]"},
              {"a[*].b | [0]", R"({"a":[{"b":[1,2]},{"b":[3]}]})", "[1,2]"},
              {"a[].b[]", R"({"a":[[{"b":[1]}],{"b":[2,3]}]})", "[1,2,3]"},
              {"*.n", R"({"x":{"n":1},"y":{"n":2},"z":3})", "[1,2]"},
              {"a.*", R"({"a":{"x":1,"y":2}})", "[1,2]"},
              {"a[:2].b", R"({"a":[{"b":1},{"b":2},{"b":3}]})", "[1,2]"},
              {"a[*]", R"({"a":{"b":1}})", "null"},
              {"[]", "[[1,[2]],3]", "[1,[2],3]"},
              {"[][]", "[[1,[2]],3]", "[1,2,3]"}});
}

TEST(query, filters_compare_and_combine) {
  const char* list = R"([{"n":1,"t":"a"},{"n":2,"t":"b"},{"n":3}])";
  expect_all({{"[?n>`1`].n", list, "[2,3]"},
              {"[?t=='a'].n", list, "[1]"},
              {"[?t!='a' && n<`3`].n", list, "[2]"},
              {"[?!t].n", list, "[3]"},
              {"[?t=='b' || n>=`3`].n", list, "[2,3]"},
              {"[?n<=`2`] | [0].n", list, "1"},
              {"[?(t=='a' || t=='b') && n==`2`].t", list, R"(["b"])"},
              {"[?t<'b'].n", list, "[]"},
              {"[?contains(keys(@), 't')][].n", list, "[1,2]"}});
}

TEST(query, lists_and_hashes_choose_and_rename) {
  expect_all({{"[a,b]", R"({"a":1})", "[1,null]"},
              {"{x:a,\"y z\":b.c}", R"({"a":1,"b":{"c":2}})", R"({"x":1,"y z":2})"},
              {"a[*].{n:n}", R"({"a":[{"n":1},{"m":2}]})", R"([{"n":1},{"n":null}])"},
              {"a[*].[n,m]", R"({"a":[{"n":1,"m":2}]})", "[[1,2]]"},
              {"a.[b]", R"({"c":1})", "null"}});
}

TEST(query, functions_count_and_look) {
  expect_all(
      {{"length(@)", "[1,2,3]", "3"},
       {"length(a)", R"({"a":"héé"})", "3"},
       {"a | length(@)", R"({"a":{"x":1}})", "1"},
       {"keys(@)", R"({"b":1,"a":2})", R"(["b","a"])"},
       {"values(@)", R"({"b":1,"a":2})", "[1,2]"},
       {"contains('abc','bc')", "0", "true"},
       {"contains(@,`2`)", "[1,2]", "true"},
       {"starts_with(@,'v')", R"("v1")", "true"},
       {"ends_with(@,'2')", R"("v1")", "false"},
       {"sort(@)", R"(["b","a"])", R"(["a","b"])"},
       {"sort(@)", "[3,1.5,-2]", "[-2,1.5E0,3]"},
       {"reverse(@)", "[1,2]", "[2,1]"},
       {"join(', ',@)", R"(["a","b"])", R"("a, b")"},
       {"length(@)", "5", "error: query: length cannot take a number"},
       {"sort(@)", R"([1,"a"])", "error: query: sort takes a list of texts or a list of numbers"}});
}

TEST(query, literals_are_texts_and_json) {
  expect_all({{R"('it\'s')", "0", R"("it's")"},
              {R"(`{"a":[1,"\`"]}`)", "0", R"({"a":[1,"`"]})"},
              {"`1` == `1`", "0", "true"}});
}

TEST(query, what_is_wrong_is_said_with_its_place) {
  expect_all({
      {"", "0", "error: query: at 1: a name, a bracket, a function or a literal belongs here"},
      {"a.", "0", "error: query: at 3: a name, [ or { belongs here"},
      {"a[", "0", "error: query: at 3: a number, a slice or * belongs here"},
      {"a b", "0", "error: query: at 3: the end belongs here"},
      {"a#", "0", "error: query: at 2: \"#\" means nothing here"},
      {"'a", "0", "error: query: at 1: ' is never closed"},
      {"`{`", "0", "error: query: at 1: \"{\" is not JSON"},
      {"[::0]", "0", "error: query: a slice's step is not 0"},
      {"length()", "0", "error: query: at 1: length takes 1 argument"},
      {"99999999999999999999", "0", "error: query: at 1: not a number that fits"},
      {"a[1 2]", "0", "error: query: at 5: a number, : or ] belongs here"},
      {"'\xff'", "0", "error: query: it is not UTF-8"},
      {"-", "0", "error: query: at 1: not a number that fits"},
  });
  EXPECT_TRUE(ask("nosuch(@)", "0").contains("there is no function nosuch; there are: contains"));
}

TEST(query, depth_length_and_answer_are_bounded) {
  EXPECT_TRUE(ask(std::string(5000, 'a'), "0").contains("longer than 4096 bytes"));
  EXPECT_TRUE(ask(std::string(100, '(') + "a", "0").contains("deeper than 64"));
  EXPECT_TRUE(ask(std::string(100, '!') + "a", "0").contains("deeper than 64"));
  std::string chain = "a";
  for (int i = 0; i < 1000; ++i) chain += ".a";
  EXPECT_TRUE(ask(chain, "0").contains("more than 1000 names"));
  std::string doubling = "@";
  for (int i = 0; i < 100; ++i) doubling += "|[@,@]";
  EXPECT_TRUE(ask(doubling, "1").contains("answer is too large"));
  std::string nested = "@";
  for (int i = 0; i < 200; ++i) nested += "|[@]";
  EXPECT_EQ(ask(nested, "1").size(), 401);
}

}  // namespace
}  // namespace runnel::output
