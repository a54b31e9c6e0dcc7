#include "registry/role_assignments.h"

#include <gtest/gtest.h>

#include "support/fake_clock.h"
#include "support/memory_metadata_store.h"

namespace runnel::registry {
namespace {

RoleAssignment of(std::string assignee, std::string role, std::string scope) {
  return {.id = {},
          .assignee = std::move(assignee),
          .role = std::move(role),
          .scope = std::move(scope),
          .created = WallTime(std::chrono::seconds(1)),
          .created_by = "user:owner"};
}

class RoleAssignmentsTest : public testing::Test {
 protected:
  test::FakeClock clock_;
  test::MemoryMetadataStore metadata_{test::MemoryMetadataStore::new_data(), clock_};
  const RoleAssignments assignments_{metadata_};
};

TEST_F(RoleAssignmentsTest, GrantWhatTheirRolesAllowInTheirScopes) {
  ASSERT_TRUE(assignments_.add(of("alice", "AcrPull", "team/*")));
  ASSERT_TRUE(assignments_.add(of("alice", "AcrDelete", "team/app")));
  ASSERT_TRUE(assignments_.add(of("bob", "Owner", "*")));

  const auto grants = assignments_.grants("alice").value();

  EXPECT_EQ(access::allowed(grants, "team/other"), access::role("AcrPull").value());
  EXPECT_TRUE(access::allowed(grants, "team/app").has(access::Action::kContentDelete));
  EXPECT_TRUE(access::allowed(grants, "elsewhere").empty());
  EXPECT_TRUE(assignments_.grants("carol").value().empty());
}

TEST_F(RoleAssignmentsTest, GoWhenTheyAreRemoved) {
  const auto made = assignments_.add(of("alice", "AcrPull", "*")).value();

  EXPECT_FALSE(assignments_.remove("bob", made.id).value());
  EXPECT_TRUE(assignments_.remove("alice", made.id).value());
  EXPECT_FALSE(assignments_.remove("alice", made.id).value());
  EXPECT_TRUE(assignments_.all().value().empty());
}

TEST_F(RoleAssignmentsTest, AreMadeOnceHoweverOftenTheyAreAskedFor) {
  const auto first = assignments_.add(of("alice", "AcrPull", "*")).value();
  const auto second = assignments_.add(of("alice", "AcrPull", "*")).value();

  EXPECT_EQ(first.id, second.id);
  EXPECT_EQ(assignments_.all().value().size(), 1);
}

TEST_F(RoleAssignmentsTest, AreNoMoreThanEachRequestCanLookAt) {
  for (int i = 0; i < 100; ++i)
    ASSERT_TRUE(assignments_.add(of("alice", "AcrPull", fmt::format("r{}", i))));

  EXPECT_EQ(assignments_.add(of("alice", "AcrPull", "one-more")).error().code, Code::kExhausted);
}

TEST_F(RoleAssignmentsTest, ThatAreDamagedLetNobodyIn) {
  ASSERT_TRUE(metadata_.put_document("role-assignments", "alice", "{", 0));

  EXPECT_EQ(assignments_.grants("alice").error().code, Code::kUnavailable);
}

}  // namespace
}  // namespace runnel::registry
