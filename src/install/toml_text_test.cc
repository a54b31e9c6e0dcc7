#include "install/toml_text.h"

#include <gtest/gtest.h>

namespace runnel::install {

namespace {

// Debian's own file, with comments added where an edit could harm them.
constexpr const char* kDebian = R"(# kept
version = 2  # kept too

[plugins]
  [plugins."io.containerd.grpc.v1.cri"]
    [plugins."io.containerd.grpc.v1.cri".cni]
      bin_dir = "/usr/lib/cni" # é
  [plugins."io.containerd.internal.v1.opt"]
    path = "/var/lib/containerd/opt"
)";

const TomlPath kOpt = {"plugins", "io.containerd.internal.v1.opt", "path"};

}  // namespace

TEST(TomlText, ReplacesAValueWhereItStands) {
  const auto edited = toml_set(kDebian, kOpt, "/opt/\"x\"");

  ASSERT_TRUE(edited) << edited.error().message;
  std::string expected = kDebian;
  const std::string old = "\"/var/lib/containerd/opt\"";
  expected.replace(expected.find(old), old.size(), R"("/opt/\"x\"")");
  EXPECT_EQ(*edited, expected);
}

TEST(TomlText, FindsAValueBehindLettersOfSeveralBytes) {
  const auto edited =
      toml_set("a = \"éé\"\nb = { \"é\" = 1, \"ü\" = 2 }\n", {"b", "ü"}, int64_t{3});

  ASSERT_TRUE(edited) << edited.error().message;
  EXPECT_EQ(*edited, "a = \"éé\"\nb = { \"é\" = 1, \"ü\" = 3 }\n");
}

TEST(TomlText, AddsAKeyBelowItsTablesHeader) {
  const auto edited =
      toml_set(kDebian, {"plugins", "io.containerd.grpc.v1.cri", "cni", "conf_dir"}, "/etc/cni");

  ASSERT_TRUE(edited) << edited.error().message;
  EXPECT_NE(edited->find("v1.cri\".cni]\n      conf_dir = \"/etc/cni\"\n"), std::string::npos);
}

TEST(TomlText, AddsAMissingTableAtTheEnd) {
  const auto edited = toml_set(
      kDebian, {"plugins", "io.containerd.grpc.v1.cri", "containerd", "snapshotter"}, "runnel");

  ASSERT_TRUE(edited) << edited.error().message;
  EXPECT_EQ(*edited, std::string(kDebian) +
                         "\n[plugins.\"io.containerd.grpc.v1.cri\".containerd]\n"
                         "  snapshotter = \"runnel\"\n");
}

TEST(TomlText, AddsAKeyOfTheRootBehindTheVersion) {
  const auto edited = toml_append(kDebian, {"imports"}, "/etc/x/*.toml");

  ASSERT_TRUE(edited) << edited.error().message;
  EXPECT_NE(edited->find("version = 2  # kept too\nimports = [\"/etc/x/*.toml\"]\n"),
            std::string::npos);
}

TEST(TomlText, AppendsToAListAndKeepsItsComments) {
  const std::string text = "imports = [\n  \"a\", # first\n  \"b\", # last\n]\n";

  EXPECT_EQ(toml_append(text, {"imports"}, "c"),
            "imports = [\n  \"a\", # first\n  \"b\", \"c\", # last\n]\n");
  EXPECT_EQ(toml_append("imports = [ ]\n", {"imports"}, "c"), "imports = [\"c\" ]\n");
}

TEST(TomlText, RefusesAFormThatItCannotEdit) {
  const auto inline_table = toml_set("a = { b = 1 }\n", {"a", "c"}, true);
  const auto not_a_table = toml_set("a = 1\n", {"a", "c"}, true);

  ASSERT_FALSE(inline_table);
  EXPECT_EQ(inline_table.error().code, Code::kUnsupported);
  EXPECT_NE(inline_table.error().message.find("by hand"), std::string::npos);
  EXPECT_FALSE(not_a_table);
}

TEST(TomlText, IsNotFooledByAHeaderInsideAText) {
  const std::string text = "x = \"\"\"\n[t]\n\"\"\"\n[t]\nk = 1\n";

  const auto edited = toml_set(text, {"t", "new"}, true);

  ASSERT_FALSE(edited) << *edited;
  EXPECT_EQ(edited.error().code, Code::kUnsupported);
}

TEST(TomlText, InsertsATableBeforeItsSiblings) {
  const std::string text = "server = \"s\"\n\n[host.\"https://a\"]\n  skip_verify = true\n";

  const auto edited =
      toml_insert_first(text, {"host", "http://m"}, "capabilities", std::vector<std::string>{"p"});

  ASSERT_TRUE(edited) << edited.error().message;
  EXPECT_EQ(*edited,
            "server = \"s\"\n\n[host.\"http://m\"]\n  capabilities = [\"p\"]\n\n"
            "[host.\"https://a\"]\n  skip_verify = true\n");
}

TEST(TomlText, RefusesToInsertBeforeInlineSiblings) {
  const auto edited = toml_insert_first("host = { a = { x = 1 } }\n", {"host", "m"}, "k", true);

  ASSERT_FALSE(edited);
  EXPECT_EQ(edited.error().code, Code::kUnsupported);
}

TEST(TomlText, FlattensADocument) {
  const auto flat = toml_flat("a = 1\n[b.\"c.d\"]\n  e = [1, 2]\n  f = 'x'\n");

  ASSERT_TRUE(flat);
  ASSERT_EQ(flat->size(), 3u);
  EXPECT_EQ((*flat)[0].first, "a");
  EXPECT_EQ((*flat)[1].first, "b.\"c.d\".e");
  EXPECT_EQ((*flat)[2].second, "'x'");
}

TEST(TomlText, SaysWhichLineIsNoToml) {
  const auto edited = toml_set("a = 1\nb =\n", {"c"}, true);

  ASSERT_FALSE(edited);
  EXPECT_EQ(edited.error().code, Code::kInvalid);
  EXPECT_NE(edited.error().message.find("line 2"), std::string::npos);
}

}  // namespace runnel::install
