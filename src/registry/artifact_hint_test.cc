#include "registry/artifact_hint.h"

#include <gtest/gtest.h>

#include "artifact/artifact.h"
#include "meta/sqlite_store.h"
#include "oci/document.h"
#include "oci/media_types.h"
#include "registry/attributes.h"
#include "registry/new_manifest.h"
#include "support/temp_dir.h"

namespace runnel::registry {
namespace {

oci::Digest digest(const std::string& text) {
  return oci::Digest::of(as_bytes(text));
}

artifact::Artifact artifact_of(const oci::Digest& subject, uint64_t generation) {
  artifact::Artifact made;
  made.subject.media_type = oci::kOciManifest;
  made.subject.digest = subject;
  made.subject.size = 500;
  made.platform.os = "linux";
  made.platform.architecture = "amd64";
  made.artifact_type = artifact::kAzureArtifactType;
  made.producer = artifact::producer();
  for (const std::string name : {"low", "high"}) {
    made.layers.push_back({.source = digest("source " + name),
                           .diff_id = digest("diff " + name),
                           .blob = digest("blob " + name),
                           .blob_size = 300,
                           .table_digest = codec::sha256(as_bytes(name))});
  }
  made.boot = digest("boot " + std::to_string(generation));
  made.boot_size = 4000 + generation;
  made.head = digest("head");
  made.head_size = 3000;
  made.generation = generation;
  return made;
}

class ArtifactHintTest : public testing::Test {
 protected:
  oci::Digest put(const oci::Manifest& manifest) {
    const auto bytes = oci::to_json(manifest);
    auto made = new_manifest(as_bytes(bytes), "", oci::Algorithm::kSha256).value();
    made.blobs_required = false;
    EXPECT_TRUE(store_->put_manifest("a", made));
    return made.digest;
  }
  oci::Digest put_generation(uint64_t generation) {
    return put(artifact::to_manifest(artifact_of(subject_, generation)));
  }
  std::optional<oci::BootHint> hint() { return artifact_hint(*store_, "a", subject_).value(); }

  const test::TempDir directory_;
  const SystemClock clock_;
  const std::unique_ptr<meta::SqliteStore> store_ =
      meta::SqliteStore::open(directory_.path() + "/metadata.sqlite", clock_).value();
  const oci::Digest subject_ = digest("subject");
};

TEST_F(ArtifactHintTest, NamesTheBootBlobOfTheNewestGeneration) {
  for (const uint64_t generation : {1, 3, 2}) put_generation(generation);

  EXPECT_EQ(hint(),
            (oci::BootHint{
                .blob = digest("boot 3"), .size = 4003, .head = 3000, .base = digest("blob low")}));
}

TEST_F(ArtifactHintTest, IsNoneForAnImageWithoutAnArtifact) {
  EXPECT_EQ(hint(), std::nullopt);
  put(artifact::to_manifest(artifact_of(digest("another"), 1)));
  EXPECT_EQ(hint(), std::nullopt);
}

TEST_F(ArtifactHintTest, PassesOverWhatItCannotRead) {
  put_generation(1);
  auto strange = artifact::to_manifest(artifact_of(subject_, 2));
  strange.annotations[std::string(artifact::kVersionAnnotation)] = "99";
  put(strange);

  EXPECT_EQ(hint()->blob, digest("boot 1"));
}

TEST_F(ArtifactHintTest, IsNoneWhereAttributesSayWhatMayBeSeen) {
  const auto artifact = put_generation(1);
  ASSERT_TRUE(change_attributes(*store_, "a", artifact.to_string(), [](Attributes& attributes) {
    attributes.set(Attribute::kList, false);
    return std::expected<void, Refusal>();
  }));

  EXPECT_EQ(hint(), std::nullopt);
}

TEST(AsksForBootBlob, OnlyWithTheWholeHeader) {
  EXPECT_TRUE(asks_for_boot_blob({{oci::kAskHeader, oci::kAskBootBlob}}));
  EXPECT_TRUE(asks_for_boot_blob({{"runnel-ask", "boot-blob"}}));
  EXPECT_FALSE(asks_for_boot_blob({}));
  EXPECT_FALSE(asks_for_boot_blob({{oci::kAskHeader, "everything"}}));
}

}  // namespace
}  // namespace runnel::registry
