#include "registry/boot_hint.h"

#include <gtest/gtest.h>

#include "artifact/artifact.h"
#include "meta/sqlite_store.h"
#include "oci/document.h"
#include "oci/media_types.h"
#include "registry/attributes.h"
#include "registry/new_manifest.h"
#include "support/sample_artifact.h"
#include "support/temp_dir.h"

namespace runnel::registry {
namespace {

using test::named;

class BootHintTest : public testing::Test {
 protected:
  oci::Digest put(const oci::Manifest& manifest) {
    const auto bytes = oci::to_json(manifest);
    auto made = new_manifest(as_bytes(bytes), "", oci::Algorithm::kSha256).value();
    made.blobs_required = false;
    EXPECT_TRUE(store_->put_manifest("a", made));
    return made.digest;
  }
  oci::Digest put_generation(uint64_t generation) {
    return put(artifact::to_manifest(test::sample_artifact(subject_, generation)));
  }
  std::optional<artifact::BootHint> hint() { return boot_hint(*store_, "a", subject_).value(); }

  const test::TempDir directory_;
  const SystemClock clock_;
  const std::unique_ptr<meta::SqliteStore> store_ =
      meta::SqliteStore::open(directory_.path() + "/metadata.sqlite", clock_).value();
  const oci::Digest subject_ = named("subject");
};

TEST_F(BootHintTest, NamesTheBootBlobOfTheNewestGeneration) {
  for (const uint64_t generation : {1, 3, 2}) put_generation(generation);

  EXPECT_EQ(hint(),
            (artifact::BootHint{
                .blob = named("boot 3"), .size = 4003, .head = 3000, .base = named("blob low")}));
}

TEST_F(BootHintTest, IsNoneForAnImageWithoutAnArtifact) {
  EXPECT_EQ(hint(), std::nullopt);
  put(artifact::to_manifest(test::sample_artifact(named("another"), 1)));
  EXPECT_EQ(hint(), std::nullopt);
}

TEST_F(BootHintTest, PassesOverWhatItCannotRead) {
  put_generation(1);
  auto strange = artifact::to_manifest(test::sample_artifact(subject_, 2));
  strange.annotations[std::string(artifact::kVersionAnnotation)] = "99";
  put(strange);

  EXPECT_EQ(hint()->blob, named("boot 1"));
}

TEST_F(BootHintTest, IsNoneWhereAttributesSayWhatMayBeSeen) {
  const auto artifact = put_generation(1);
  ASSERT_TRUE(change_attributes(*store_, "a", artifact.to_string(), [](Attributes& attributes) {
    attributes.set(Attribute::kList, false);
    return std::expected<void, Refusal>();
  }));

  EXPECT_EQ(hint(), std::nullopt);
}

TEST(AsksForBootBlob, OnlyWithTheWholeHeader) {
  EXPECT_TRUE(asks_for_boot_blob({{artifact::kAskHeader, artifact::kAskBootBlob}}));
  EXPECT_TRUE(asks_for_boot_blob({{"runnel-ask", "boot-blob"}}));
  EXPECT_FALSE(asks_for_boot_blob({}));
  EXPECT_FALSE(asks_for_boot_blob({{artifact::kAskHeader, "everything"}}));
}

}  // namespace
}  // namespace runnel::registry
