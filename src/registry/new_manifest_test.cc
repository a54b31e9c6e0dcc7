#include "registry/new_manifest.h"

#include <gtest/gtest.h>

#include "oci/document.h"
#include "oci/media_types.h"

namespace runnel::registry {
namespace {

oci::Descriptor descriptor(std::string_view content, std::string_view type) {
  oci::Descriptor made;
  made.media_type = type;
  made.digest = oci::Digest::of(as_bytes(content));
  made.size = content.size();
  return made;
}

oci::Manifest image() {
  oci::Manifest made;
  made.media_type = oci::kOciManifest;
  made.config = descriptor("config", "application/vnd.example.config");
  made.layers = {descriptor("layer", oci::kOciLayerGzip)};
  made.annotations = {{"k", "v"}};
  return made;
}

TEST(NewManifest, NeedsItsConfigurationAndLayers) {
  const auto bytes = oci::to_json(image());

  const auto made = new_manifest(as_bytes(bytes), oci::kOciManifest, oci::Algorithm::kSha256);

  ASSERT_TRUE(made);
  EXPECT_EQ(made->blobs, (std::vector{image().config.digest, image().layers[0].digest}));
  EXPECT_TRUE(made->named.empty());
  EXPECT_EQ(made->digest, oci::Digest::of(as_bytes(bytes)));
  EXPECT_EQ(made->media_type, oci::kOciManifest);
  EXPECT_FALSE(made->subject);
}

TEST(NewManifest, NamesLayersThatLieElsewhereAndDoesNotNeedThem) {
  auto manifest = image();
  manifest.layers = {descriptor("foreign", oci::kDockerForeignLayer),
                     descriptor("elsewhere", oci::kOciLayerGzip)};
  manifest.layers[1].urls = {"https://example.com/"};
  const auto bytes = oci::to_json(manifest);

  const auto made = new_manifest(as_bytes(bytes), "", oci::Algorithm::kSha256);

  EXPECT_EQ(made->blobs, std::vector{manifest.config.digest});
  EXPECT_EQ(made->named, (std::vector{manifest.layers[0].digest, manifest.layers[1].digest}));
}

TEST(NewManifest, IsListedWithItsOwnTypeOrItsConfigurations) {
  auto manifest = image();
  manifest.subject = descriptor("subject", oci::kOciManifest);
  const auto plain = oci::to_json(manifest);
  manifest.artifact_type = "application/vnd.example.artifact";
  const auto typed = oci::to_json(manifest);

  const auto by_config = new_manifest(as_bytes(plain), "", oci::Algorithm::kSha256);
  const auto by_itself = new_manifest(as_bytes(typed), "", oci::Algorithm::kSha256);

  EXPECT_EQ(by_config->descriptor.artifact_type, "application/vnd.example.config");
  EXPECT_EQ(by_itself->descriptor.artifact_type, "application/vnd.example.artifact");
  EXPECT_EQ(by_itself->subject, manifest.subject->digest);
  EXPECT_EQ(by_itself->descriptor.annotations, manifest.annotations);
  EXPECT_EQ(by_itself->descriptor.size, typed.size());
  EXPECT_EQ(by_itself->descriptor.digest, by_itself->digest);
}

TEST(NewManifest, OfAnIndexNamesItsManifestsAndNeedsNothing) {
  oci::Index index;
  index.media_type = oci::kOciIndex;
  index.manifests = {descriptor("child", oci::kOciManifest)};
  const auto bytes = oci::to_json(index);

  const auto made = new_manifest(as_bytes(bytes), oci::kOciIndex, oci::Algorithm::kSha512);

  EXPECT_TRUE(made->blobs.empty());
  EXPECT_EQ(made->named, std::vector{index.manifests[0].digest});
  EXPECT_EQ(made->descriptor.artifact_type, "");
  EXPECT_EQ(made->digest.algorithm(), oci::Algorithm::kSha512);
}

}  // namespace
}  // namespace runnel::registry
