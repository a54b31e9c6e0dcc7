#include "registry/teleport.h"

#include <gtest/gtest.h>

#include "support/fake_clock.h"
#include "support/memory_metadata_store.h"

namespace runnel::registry {
namespace {

class TeleportTest : public testing::Test {
 protected:
  bool set(const std::string& repository, bool to) {
    return set_teleport(metadata_, repository, to, config_).has_value();
  }
  std::optional<bool> enabled(const std::string& repository) {
    return teleport_enabled(metadata_, repository).value();
  }
  bool push(const std::string& repository) {
    return teleport_push(metadata_, repository, config_).value();
  }

  test::FakeClock clock_;
  test::MemoryMetadataStore metadata_{test::MemoryMetadataStore::new_data(), clock_};
  TeleportConfig config_{.repositories = 2, .enable_by_push = false};
};

TEST_F(TeleportTest, IsNeitherOnNorOffAtFirst) {
  EXPECT_EQ(enabled("a"), std::nullopt);
  EXPECT_FALSE(push("a"));
  EXPECT_EQ(enabled("a"), std::nullopt);
}

TEST_F(TeleportTest, IsSwitchedOnForSoManyRepositories) {
  EXPECT_TRUE(set("a", true));
  EXPECT_TRUE(set("b", true));
  EXPECT_FALSE(set("c", true));
  EXPECT_TRUE(set("b", true));

  EXPECT_TRUE(set("a", false));
  EXPECT_TRUE(set("c", true));
  EXPECT_EQ(enabled("a"), false);
  EXPECT_TRUE(push("c"));
}

TEST_F(TeleportTest, IsSwitchedOnByPushesWhileThereIsRoom) {
  config_.enable_by_push = true;
  ASSERT_TRUE(set("a", false));

  EXPECT_TRUE(push("a"));  // even though somebody switched it off
  EXPECT_TRUE(push("b"));
  EXPECT_FALSE(push("c"));

  EXPECT_EQ(enabled("a"), true);
  EXPECT_EQ(enabled("c"), std::nullopt);
}

}  // namespace
}  // namespace runnel::registry
