#include "cli/table.h"

#include <gtest/gtest.h>

namespace runnel::cli {
namespace {

TEST(Table, MakesColumnsAsWideAsTheirWidestCell) {
  Table table({"IMAGE", "REASON", "HERE"});
  table.row({"a", "NoArtifact", "-"});
  table.row({"longer-name", "Streaming", "1 MiB of 2 MiB (50 %)"});

  EXPECT_EQ(table.to_string(),
            "IMAGE        REASON      HERE\n"
            "a            NoArtifact  -\n"
            "longer-name  Streaming   1 MiB of 2 MiB (50 %)\n");
}

}  // namespace
}  // namespace runnel::cli
