#include "convert/find_artifact.h"

#include <gtest/gtest.h>

namespace runnel::convert {
namespace {

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
