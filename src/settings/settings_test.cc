#include "settings/settings.h"

#include <gtest/gtest.h>

#include <map>

namespace runnel::settings {
namespace {

struct Wanted {
  std::string text = "default";
  bool flag = false;
  int64_t number = 7;
  std::vector<std::string> list;
  std::string inner;
  std::map<std::string, std::string> hosts;
  std::map<std::string, std::string> keys;

  Section section() {
    Section all;
    all.text("text", text)
        .flag("flag", flag)
        .number("number", 1, 10, [this](int64_t value) { number = value; })
        .texts("list",
               [this](std::vector<std::string> texts) -> Result<void> {
                 if (texts.size() > 2) return fail(Code::kInvalid, "has more than two");
                 list = std::move(texts);
                 return {};
               })
        .meaning("way",
                 [](const std::string& way) -> Result<void> {
                   if (way == "on") return {};
                   return fail(Code::kInvalid, "must be \"on\"");
                 })
        .section("below", Section().text("inner", inner))
        .each("host", [this](const std::string& name) { return Section().text("ca", hosts[name]); })
        .each_text("keys",
                   [this](const std::string& name, const std::string& value) -> Result<void> {
                     if (name == "bad") return fail(Code::kInvalid, "is no key ID");
                     keys[name] = value;
                     return {};
                   });
    return all;
  }
};

std::string refusal(const std::string& text) {
  Wanted wanted;
  const auto outcome = read(wanted.section(), text, "x.toml");
  EXPECT_FALSE(outcome) << text;
  return outcome ? "" : outcome.error().message;
}

TEST(Settings, ReadsEveryKindOfKey) {
  Wanted wanted;

  const auto outcome = read(wanted.section(),
                            "version = 1\ntext = \"t\"\nflag = true\nnumber = 10\nlist = [\"a\", "
                            "\"b\"]\nway = \"on\"\n[below]\ninner = \"i\"\n[host.\"r:5000\"]\nca = "
                            "\"/ca\"\n[host.\"other\"]\n[keys]\n\"id\" = \"pem\"\n",
                            "x.toml");

  ASSERT_TRUE(outcome) << outcome.error().message;
  EXPECT_EQ(wanted.text, "t");
  EXPECT_TRUE(wanted.flag);
  EXPECT_EQ(wanted.number, 10);
  EXPECT_EQ(wanted.list, (std::vector<std::string>{"a", "b"}));
  EXPECT_EQ(wanted.inner, "i");
  EXPECT_EQ(wanted.hosts, (std::map<std::string, std::string>{{"r:5000", "/ca"}, {"other", ""}}));
  EXPECT_EQ(wanted.keys, (std::map<std::string, std::string>{{"id", "pem"}}));
}

TEST(Settings, KeepsWhatTheFileDoesNotSay) {
  Wanted wanted;

  ASSERT_TRUE(read(wanted.section(), "version = 1", "x.toml"));

  EXPECT_EQ(wanted.text, "default");
  EXPECT_EQ(wanted.number, 7);
}

TEST(Settings, NamesTheLineOfAKeyThatIsUnknown) {
  EXPECT_EQ(refusal("version = 1\n\ntxt = \"x\"\n"), "x.toml:3: there is no key \"txt\"");
  EXPECT_EQ(refusal("version = 1\n[below]\nouter = 1\n"),
            "x.toml:3: there is no key \"below.outer\"");
  EXPECT_EQ(refusal("version = 1\n[host.\"r\"]\n\ncaa = 1\n"),
            "x.toml:4: there is no key \"host.r.caa\"");
}

TEST(Settings, NamesTheLineOfAValueThatMakesNoSense) {
  for (const std::string bad :
       {"text = 1", "text = \"\"", "flag = 1", "number = 0", "number = 11", "number = \"1\"",
        "list = \"a\"", "list = [1]", "list = [\"a\", \"b\", \"c\"]", "way = \"off\"", "below = 1",
        "host = \"r\"", "host.r = 1", "keys = 1", "keys.id = 1", "keys.bad = \"pem\""}) {
    EXPECT_TRUE(refusal("version = 1\n" + bad + "\n").starts_with("x.toml:2: ")) << bad;
  }
}

TEST(Settings, BeginsWithAVersionThatIsKnown) {
  for (const std::string bad : {"", "text = \"t\"", "text = \"t\"\nversion = 1", "version = 2",
                                "version = \"1\"", "[below]\nversion = 1"}) {
    EXPECT_NE(refusal(bad).find("version"), std::string::npos) << bad;
  }
}

TEST(Settings, NamesTheLineOfWhatIsNotToml) {
  EXPECT_TRUE(refusal("version = 1\n= 3\n").starts_with("x.toml:2: "));
}

TEST(Settings, SaysThatAFileIsNotThere) {
  const auto outcome = read_text("/no/such/file.toml");

  ASSERT_FALSE(outcome);
  EXPECT_EQ(outcome.error().code, Code::kNotFound);
}

}  // namespace
}  // namespace runnel::settings
