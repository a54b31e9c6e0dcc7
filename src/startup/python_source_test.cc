#include "startup/python_source.h"

#include <gtest/gtest.h>

#include <random>

namespace runnel::startup {
namespace {

using Imports = std::vector<PythonImport>;

Imports of(std::string_view source, PythonSource kind = PythonSource::kModule) {
  return python_imports(source, kind);
}

TEST(PythonSource, SaysWhatIsImported) {
  EXPECT_EQ(of("import os, sys as system\nimport a.b.c\n"),
            (Imports{{0, "os", {}}, {0, "sys", {}}, {0, "a.b.c", {}}}));
  EXPECT_EQ(of("from a.b import c, d as e\nfrom x import *"),
            (Imports{{0, "a.b", {"c", "d"}}, {0, "x", {}}}));
  EXPECT_EQ(of("from . import a\nfrom ..b import c\nfrom ...  import d"),
            (Imports{{1, "", {"a"}}, {2, "b", {"c"}}, {3, "", {"d"}}}));
  EXPECT_EQ(of("from a import (  # these\n    b,\n    c,  # and that\n)\nimport d"),
            (Imports{{0, "a", {"b", "c"}}, {0, "d", {}}}));
  EXPECT_EQ(of("from a import b, \\\n    c\r\nimport d\r\n"),
            (Imports{{0, "a", {"b", "c"}}, {0, "d", {}}}));
  EXPECT_EQ(of("import a; import b ;x = 1; import c"),
            (Imports{{0, "a", {}}, {0, "b", {}}, {0, "c", {}}}));
}

TEST(PythonSource, FollowsConditionsAndClassesButNotFunctions) {
  EXPECT_EQ(of("try:\n    import a\nexcept ImportError:\n    import b\nelse: import c\n"
               "if x: from d import e\n"
               "class F:\n    import g\n    def h(self):\n        import i\n\n    import j\n"
               "async def k():\n    import l\ndef m(): import n\nimport o\n"),
            (Imports{{0, "a", {}},
                     {0, "b", {}},
                     {0, "c", {}},
                     {0, "d", {"e"}},
                     {0, "g", {}},
                     {0, "j", {}},
                     {0, "o", {}}}));
}

TEST(PythonSource, LeavesOutWhatOnlyTypeCheckersAndMainProgramsRun) {
  constexpr auto kSource =
      "if TYPE_CHECKING:\n    import a\nif typing.TYPE_CHECKING: import b\n"
      "if __name__ == '__main__':\n    import c\n";

  EXPECT_EQ(of(kSource), Imports{});
  EXPECT_EQ(of(kSource, PythonSource::kMain), (Imports{{0, "c", {}}}));
}

TEST(PythonSource, IsNotMisledByStringsAndComments) {
  EXPECT_EQ(of("\"\"\"\nimport a\n\"\"\"\n# import b\nx = 'import c'\n"
               "y = '''\nimport d\\'''\n'''\nz = \"\\\"\"; import e\n"
               "f(\n'(', #)\n)\nimport g\nimportant = 1\nfrom_x = 2\n"),
            (Imports{{0, "e", {}}, {0, "g", {}}}));
  EXPECT_EQ(of("x = 'not closed\nimport a"), (Imports{{0, "a", {}}}));
}

TEST(PythonSource, TakesNoNameThatIsNone) {
  EXPECT_EQ(of("import\nimport .a\nimport a..b\nfrom import x\nfrom a.\nimport a.\n"), Imports{});
}

TEST(PythonSource, TakesAnyBytes) {
  std::mt19937 random(7);
  constexpr std::string_view kPieces[] = {"import ", "from ", ".",  "(", ")",  "\n", "    ",
                                          "\"\"\"",  "'",     "\\", "#", "if", ":",  "a"};
  for (int round = 0; round < 2000; ++round) {
    std::string source;
    for (unsigned i = 0; i < 60; ++i) source += kPieces[random() % std::size(kPieces)];
    for (const auto& import : of(source)) {
      EXPECT_TRUE(import.level > 0 || !import.module.empty());
      EXPECT_EQ(import.module.find(' '), std::string::npos);
    }
  }
}

}  // namespace
}  // namespace runnel::startup
