#include "convert/find_artifact.h"

#include <gtest/gtest.h>

#include "support/repository_fixture.h"

namespace runnel::convert {
namespace {

class FindArtifactAtARegistry : public remote::RemoteRepository {};

TEST_F(FindArtifactAtARegistry, HasNoneOfAListWithoutEnd) {
  registry_.inject(
      "/referrers/",
      {.status = 200,
       .headers = {{"Content-Type", std::string(oci::kOciIndex)}, {"Link", "<?again>; rel=next"}},
       .body = R"({"schemaVersion":2,"manifests":[]})"},
      1000);

  const auto found = find_artifacts(repository(), oci::Digest::of(as_bytes("image")));

  // Not kExhausted, which would be this machine's disk.
  EXPECT_EQ(found.error().code, Code::kUnavailable);
  EXPECT_NE(found.error().message.find("referrers of"), std::string::npos);
}

artifact::Artifact artifact_of(const std::vector<std::pair<std::string, std::string>>& layers) {
  artifact::Artifact made;
  for (const auto& [blob, table] : layers) {
    made.layers.push_back({.source = {},
                           .diff_id = {},
                           .blob = oci::Digest::of(as_bytes(blob)),
                           .blob_size = 1,
                           .table_digest = codec::sha256(as_bytes(table))});
  }
  return made;
}

TEST(FindArtifact, AgreesWithWhatNamesTheSameTablesOrOtherBlobs) {
  const auto artifact = artifact_of({{"a", "1"}, {"b", "2"}});

  EXPECT_TRUE(check_agrees(artifact, artifact));
  EXPECT_TRUE(check_agrees(artifact, artifact_of({{"c", "3"}, {"b", "2"}})));
  EXPECT_TRUE(check_agrees(artifact, artifact_of({{"c", "1"}})));
  EXPECT_TRUE(check_agrees(artifact, artifact_of({})));
}

TEST(FindArtifact, DoesNotAgreeWhenOneBlobHasTwoTables) {
  const auto artifact = artifact_of({{"a", "1"}, {"b", "2"}});

  EXPECT_EQ(check_agrees(artifact, artifact_of({{"c", "3"}, {"b", "1"}})).error().code,
            Code::kInvalid);
}

}  // namespace
}  // namespace runnel::convert
