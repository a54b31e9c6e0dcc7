#include "startup/javascript_source.h"

#include <gtest/gtest.h>

namespace runnel::startup {
namespace {

using Names = std::vector<std::string>;

TEST(JavaScriptSource, NamesTheModulesThatItAsksFor) {
  EXPECT_EQ(javascript_imports("const a = require('a'), b = require( \"./b\" )\n"
                               "import c from 'c'\nimport {d as e} from \"d/e\";\nimport 'f'\n"
                               "export * from './g.mjs'\nconst h = await import('h')\n"),
            (Names{"a", "./b", "c", "d/e", "f", "./g.mjs", "h"}));
}

TEST(JavaScriptSource, IsNotMisledByCommentsAndOtherStrings) {
  EXPECT_EQ(javascript_imports("// require('a')\n/* import 'b' */ x('c'); y = \"require('d')\"\n"
                               "z = `require('e')`; required('f'); require(name, 'g')\n"
                               "require('\\'h'); it's = require('i')\nrequire('j')\n"),
            (Names{"\\'h", "j"}));
}

TEST(JavaScriptSource, TakesEachOnceAndNothingEmptyOrEndless) {
  EXPECT_EQ(javascript_imports("require('a');require('a');require('');require('b"),
            (Names{"a", "b"}));
  EXPECT_EQ(javascript_imports("require('" + std::string(2000, 'x') + "')"), Names{});
  EXPECT_EQ(javascript_imports("/* no end"), Names{});
  EXPECT_EQ(javascript_imports("`no end \\"), Names{});
}

}  // namespace
}  // namespace runnel::startup
