#include "registry/boot_renewal.h"

#include <gtest/gtest.h>

#include "registry/attributes.h"
#include "registry/new_manifest.h"
#include "support/memory_metadata_store.h"

namespace runnel::registry {
namespace {

class SupersededTest : public testing::Test {
 protected:
  oci::Digest put(const std::string& mark) {
    const auto text = fmt::format(
        R"({{"schemaVersion":2,"mediaType":"{}","config":{{"mediaType":"{}","digest":"{}","size":2}},)"
        R"("layers":[],"annotations":{{"mark":"{}"}}}})",
        oci::kOciManifest, oci::kOciEmpty, oci::Digest::of(as_bytes("{}")), mark);
    auto made = new_manifest(as_bytes(text), oci::kOciManifest, oci::Algorithm::kSha256).value();
    made.blobs_required = false;
    EXPECT_TRUE(store_.put_manifest("team/app", made));
    return made.digest;
  }
  bool is_there(const oci::Digest& digest) {
    return store_.manifest_info("team/app", digest).value().has_value();
  }

  SystemClock clock_;
  test::MemoryMetadataStore store_{test::MemoryMetadataStore::new_data(), clock_};
  const WallTime now_ = WallTime(std::chrono::hours(24 * 365 * 56));
};

TEST_F(SupersededTest, AnArtifactStaysForADay) {
  const auto one = put("one");
  const auto two = put("two");
  ASSERT_TRUE(supersede(store_, "team/app", one, now_));
  ASSERT_TRUE(supersede(store_, "team/app", two, now_ + std::chrono::hours(1)));

  EXPECT_EQ(remove_superseded(store_, now_ + std::chrono::hours(23)).value(), 0u);
  EXPECT_TRUE(is_there(one));

  EXPECT_EQ(remove_superseded(store_, now_ + std::chrono::hours(24)).value(), 1u);
  EXPECT_FALSE(is_there(one));
  EXPECT_TRUE(is_there(two));

  EXPECT_EQ(remove_superseded(store_, now_ + std::chrono::hours(48)).value(), 1u);
  EXPECT_EQ(remove_superseded(store_, now_ + std::chrono::hours(72)).value(), 0u);
}

TEST_F(SupersededTest, AnArtifactThatSomebodyLockedStays) {
  const auto one = put("one");
  ASSERT_TRUE(supersede(store_, "team/app", one, now_));
  const auto lock = [](Attributes& attributes) -> std::expected<void, Refusal> {
    attributes.set(Attribute::kDelete, false);
    return {};
  };
  ASSERT_TRUE(change_attributes(store_, "team/app", one.to_string(), lock));

  EXPECT_EQ(remove_superseded(store_, now_ + std::chrono::hours(24)).value(), 1u);

  EXPECT_TRUE(is_there(one));
}

TEST_F(SupersededTest, AnArtifactThatIsGoneAlreadyIsForgotten) {
  ASSERT_TRUE(supersede(store_, "team/app", oci::Digest::of(as_bytes("gone")), now_));

  EXPECT_EQ(remove_superseded(store_, now_ + std::chrono::hours(24)).value(), 1u);
  EXPECT_EQ(remove_superseded(store_, now_ + std::chrono::hours(24)).value(), 0u);
}

}  // namespace
}  // namespace runnel::registry
