#include "artifact/artifact.h"

#include <gtest/gtest.h>

#include "oci/document.h"
#include "oci/media_types.h"

namespace runnel::artifact {
namespace {

oci::Digest digest(const std::string& text) {
  return oci::Digest::of(as_bytes(text));
}

Artifact sample() {
  Artifact artifact;
  artifact.subject.media_type = oci::kOciManifest;
  artifact.subject.digest = digest("subject");
  artifact.subject.size = 500;
  artifact.platform.os = "linux";
  artifact.platform.architecture = "arm64";
  artifact.platform.variant = "v8";
  artifact.artifact_type = kArtifactType;
  artifact.producer = producer();
  for (const std::string name : {"a", "b"}) {
    artifact.layers.push_back({.source = digest("source " + name),
                               .diff_id = digest("diff " + name),
                               .blob = digest("blob " + name),
                               .blob_size = 300,
                               .table_digest = codec::sha256(as_bytes(name))});
  }
  artifact.boot = digest("boot");
  artifact.boot_size = 4000;
  artifact.head = digest("head");
  artifact.head_size = 3000;
  artifact.generation = 2;
  artifact.key_id = "0123456789abcdef";
  artifact.signature = "signature";
  return artifact;
}

Code refusal(const oci::Manifest& manifest) {
  const auto parsed = parse_artifact(manifest);
  EXPECT_FALSE(parsed);
  return parsed ? Code::kExists : parsed.error().code;
}

TEST(ArtifactManifest, ReadsBackThroughJson) {
  const auto json = oci::to_json(to_manifest(sample()));

  const auto manifest = oci::parse_manifest(as_bytes(json), std::string(oci::kOciManifest));
  ASSERT_TRUE(manifest) << manifest.error().message;
  const auto parsed = parse_artifact(*manifest);

  ASSERT_TRUE(parsed) << parsed.error().message;
  EXPECT_EQ(*parsed, sample());
}

TEST(ArtifactManifest, OfAnUnknownFormatVersionOrTypeIsUnsupported) {
  for (const auto* key : {"streaming.format", "streaming.version"}) {
    auto manifest = to_manifest(sample());
    manifest.annotations[key] = "2";
    EXPECT_EQ(refusal(manifest), Code::kUnsupported) << key;
    manifest.annotations.erase(key);
    EXPECT_EQ(refusal(manifest), Code::kUnsupported) << key;
  }
  auto manifest = to_manifest(sample());
  manifest.artifact_type = "application/vnd.example";
  EXPECT_EQ(refusal(manifest), Code::kUnsupported);
}

TEST(ArtifactManifest, MissingOrWrongAnnotationsAreRefused) {
  for (const auto* key : {"dev.runnel.head", "dev.runnel.generation"}) {
    auto manifest = to_manifest(sample());
    for (const std::string wrong : {"", "x", "-1", "1x", "99999999999999999999", "sha256:00 1"}) {
      manifest.annotations[key] = wrong;
      EXPECT_EQ(refusal(manifest), Code::kInvalid) << key << " " << wrong;
    }
    manifest.annotations.erase(key);
    EXPECT_EQ(refusal(manifest), Code::kInvalid) << key;
  }
  for (const auto* key : {"dev.runnel.source", "dev.runnel.table"}) {
    auto manifest = to_manifest(sample());
    for (const std::string wrong : {"", "x", "x y", "sha256:00 sha256:00"}) {
      manifest.layers[0].annotations[key] = wrong;
      EXPECT_EQ(refusal(manifest), Code::kInvalid) << key << " " << wrong;
    }
  }
}

TEST(ArtifactManifest, NeedsASubjectAndABootBlobAndAHeadWithinIt) {
  auto manifest = to_manifest(sample());
  manifest.subject.reset();
  EXPECT_EQ(refusal(manifest), Code::kInvalid);

  manifest = to_manifest(sample());
  manifest.layers.pop_back();
  EXPECT_EQ(refusal(manifest), Code::kInvalid);
  manifest.layers.clear();
  EXPECT_EQ(refusal(manifest), Code::kInvalid);

  for (const uint64_t size : {uint64_t{0}, uint64_t{4001}, UINT64_MAX}) {
    auto artifact = sample();
    artifact.head_size = size;
    EXPECT_EQ(refusal(to_manifest(artifact)), Code::kInvalid) << size;
  }
}

TEST(ArtifactManifest, TakesNoStrangerAmongTheLayers) {
  auto manifest = to_manifest(sample());
  manifest.layers[0].media_type = std::string(kBootType);
  EXPECT_EQ(refusal(manifest), Code::kInvalid);
}

}  // namespace
}  // namespace runnel::artifact
