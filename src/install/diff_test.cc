#include "install/diff.h"

#include <gtest/gtest.h>

namespace runnel::install {

TEST(UnifiedDiff, IsEmptyForEqualTexts) {
  EXPECT_EQ(unified_diff("/f", true, "a\nb\n", "a\nb\n"), "");
}

TEST(UnifiedDiff, ShowsAnAddedLineWithItsNeighbours) {
  EXPECT_EQ(unified_diff("/f", true, "1\n2\n3\n4\n5\n6\n7\n8\n", "1\n2\n3\n4\n5\nnew\n6\n7\n8\n"),
            "--- /f\n+++ /f\n@@ -3,6 +3,7 @@\n 3\n 4\n 5\n+new\n 6\n 7\n 8\n");
}

TEST(UnifiedDiff, ShowsANewFileAsAdded) {
  EXPECT_EQ(unified_diff("/f", false, "", "a\nb\n"),
            "--- /dev/null\n+++ /f\n@@ -0,0 +1,2 @@\n+a\n+b\n");
}

TEST(UnifiedDiff, SaysWhenTheLastLineHasNoEnd) {
  EXPECT_EQ(unified_diff("/f", true, "a", "a\n"),
            "--- /f\n+++ /f\n@@ -1,1 +1,1 @@\n-a\n\\ No newline at end of file\n+a\n");
}

}  // namespace runnel::install
