#include "access/grant.h"

#include <gtest/gtest.h>

#include "access/scope.h"

namespace runnel::access {
namespace {

TEST(Pattern, MeansOneRepositoryOrAllBelowAPrefix) {
  EXPECT_TRUE(matches("team/app", "team/app"));
  EXPECT_FALSE(matches("team/app", "team/app2"));
  EXPECT_TRUE(matches("team/*", "team/app/web"));
  EXPECT_FALSE(matches("team/*", "team"));
  EXPECT_FALSE(matches("team/*", "teams/app"));
  EXPECT_TRUE(matches("*", "anything/at/all"));
}

TEST(Pattern, HasItsStarAtTheEndOnly) {
  EXPECT_TRUE(check_pattern("team/*"));
  EXPECT_TRUE(check_pattern("*"));
  EXPECT_FALSE(check_pattern("*/app"));
  EXPECT_FALSE(check_pattern("a*b*"));
  EXPECT_FALSE(check_pattern(""));
}

TEST(Grants, AddUp) {
  const Grants grants = {{"*", {Action::kContentRead}}, {"team/*", {Action::kContentWrite}}};

  EXPECT_EQ(allowed(grants, "other"), Actions({Action::kContentRead}));
  EXPECT_EQ(allowed(grants, "team/app"), Actions({Action::kContentRead, Action::kContentWrite}));
}

TEST(ScopeMap, ReadsAndWritesItsLines) {
  const auto grant = parse_scope_map_action("repositories/team/app/content/read");
  ASSERT_TRUE(grant);
  EXPECT_EQ(*grant, Grant("team/app", {Action::kContentRead}));
  EXPECT_EQ(to_scope_map_actions({*grant, Grant("team/*", Actions::all()), *grant}),
            (std::vector<std::string>{
                "repositories/team/*/content/convert", "repositories/team/*/content/delete",
                "repositories/team/*/content/read", "repositories/team/*/content/write",
                "repositories/team/*/metadata/read", "repositories/team/*/metadata/write",
                "repositories/team/app/content/read"}));
}

TEST(ScopeMap, RefusesLinesThatMeanNothing) {
  for (const auto* line :
       {"", "repositories", "repositories/", "repositories/content/read",
        "repositories//content/read", "repositories/app/content/eat",
        "repositories/*/app/content/read", "gateway/app/config/read", "content/read", "/", "//"}) {
    EXPECT_FALSE(parse_scope_map_action(line)) << line;
  }
}

TEST(ScopeMap, EveryRegistryHasTheSystemsOwn) {
  EXPECT_EQ(system_scope_maps().size(), 5);
  const auto allows = [](std::string_view name) {
    return allowed(system_scope_map(name).value(), "any/repository");
  };
  using enum Action;
  EXPECT_EQ(allows("_repositories_pull"), Actions({kContentRead}));
  EXPECT_EQ(allows("_repositories_pull_metadata_read"), Actions({kContentRead, kMetadataRead}));
  EXPECT_EQ(allows("_repositories_push"), Actions({kContentRead, kContentWrite}));
  EXPECT_EQ(allows("_repositories_push_metadata_write"),
            Actions({kContentRead, kContentWrite, kMetadataRead, kMetadataWrite}));
  EXPECT_EQ(allows("_repositories_admin"),
            Actions({kContentRead, kContentWrite, kContentDelete, kMetadataRead, kMetadataWrite}));
  EXPECT_EQ(system_scope_map("_nothing").error().code, Code::kNotFound);
}

TEST(Role, AllowsWhatItIsNamedAfterAndNothingElse) {
  using enum Action;
  EXPECT_EQ(role("AcrPull").value(), Actions({kContentRead, kMetadataRead}));
  EXPECT_EQ(role("AcrPush").value(),
            Actions({kContentRead, kMetadataRead, kContentWrite, kMetadataWrite}));
  EXPECT_EQ(role("AcrDelete").value(), Actions({kContentDelete}));
  EXPECT_EQ(role("Converter").value(),
            Actions({kContentRead, kMetadataRead, kContentWrite, kMetadataWrite, kConvert}));
  EXPECT_EQ(role("Owner").value(), Actions::all());
  EXPECT_FALSE(role("acrpull"));
}

TEST(Role, ConvertingIsNotPartOfPushing) {
  EXPECT_FALSE(role("AcrPush")->has(Action::kConvert));
  EXPECT_TRUE(role("Converter")->has(Action::kConvert));
  EXPECT_FALSE(role("AcrPush")->has(Action::kContentDelete));
  EXPECT_FALSE(role("acrpush"));
}

TEST(Scope, EndsItsNameAtTheLastColon) {
  const auto scopes = parse_scopes("repository:host:5000/app:pull,push registry:catalog:*");
  ASSERT_TRUE(scopes);
  ASSERT_EQ(scopes->size(), 2);
  EXPECT_EQ((*scopes)[0], Scope("host:5000/app", {Action::kContentRead, Action::kMetadataRead,
                                                  Action::kContentWrite, Action::kConvert}));
  EXPECT_EQ((*scopes)[1].kind, Scope::Kind::kCatalog);
}

TEST(Scope, LeavesOutWhatItDoesNotKnow) {
  const auto scopes = parse_scopes("  artifact:x:pull repository(plugin):app:pull,fly ");
  ASSERT_TRUE(scopes);
  ASSERT_EQ(scopes->size(), 1);
  EXPECT_EQ((*scopes)[0], Scope("app", {Action::kContentRead, Action::kMetadataRead}));
  EXPECT_FALSE(parse_scopes("repository:app"));
  EXPECT_FALSE(parse_scopes("pull"));
}

TEST(Scope, HasALimitedNumber) {
  std::string text;
  for (int i = 0; i < 101; ++i) text += "repository:a:pull ";
  EXPECT_FALSE(parse_scopes(text));
}

TEST(Scope, SaysAStarForEverythingAndReadsItBack) {
  EXPECT_EQ(actions_of_scope("*"), Actions::all());
  for (const Actions actions :
       {Actions::all(), Actions{Action::kMetadataRead},
        Actions{Action::kContentWrite, Action::kConvert},
        Actions{Action::kContentRead, Action::kMetadataRead, Action::kContentDelete}, Actions{}}) {
    EXPECT_EQ(actions_of_scope(to_scope_actions(actions)), actions);
  }
  EXPECT_EQ(
      to_string(Scope("app", {Action::kContentRead, Action::kMetadataRead, Action::kContentWrite})),
      "repository:app:pull,push");
}

}  // namespace
}  // namespace runnel::access
