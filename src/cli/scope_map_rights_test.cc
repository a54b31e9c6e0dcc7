#include "cli/scope_map_rights.h"

#include <gtest/gtest.h>

namespace runnel::cli {
namespace {

using Lines = std::vector<std::string>;

TEST(scope_map_rights, each_repository_has_the_actions_after_it) {
  EXPECT_EQ(*scope_map_lines({"team/*", "content/read", "metadata/read", "b", "content/write"}),
            (Lines{"repositories/team/*/content/read", "repositories/team/*/metadata/read",
                   "repositories/b/content/write"}));
  EXPECT_EQ(*scope_map_lines({}), Lines{});
}

TEST(scope_map_rights, a_repository_without_action_and_an_action_without_repository_are_refused) {
  EXPECT_TRUE(scope_map_lines({"a"}).error().error.message.contains("what may be done in \"a\""));
  EXPECT_TRUE(scope_map_lines({"a", "b", "content/read"}).error().error.message.contains("\"a\""));
  EXPECT_TRUE(
      scope_map_lines({"content/read"}).error().error.message.contains("in which repository"));
}

}  // namespace
}  // namespace runnel::cli
