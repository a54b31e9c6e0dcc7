#include "convert/image_kind.h"

#include <gtest/gtest.h>

#include "oci/media_types.h"

namespace runnel::convert {
namespace {

oci::Manifest manifest(std::string_view config, const std::vector<std::string_view>& layers) {
  oci::Manifest made;
  made.config.media_type = config;
  for (const auto type : layers) made.layers.emplace_back().media_type = type;
  return made;
}

TEST(ImageKind, IsAnImageWithTheLayersOfOne) {
  EXPECT_TRUE(is_image(manifest(oci::kOciConfig, {oci::kOciLayerGzip, oci::kOciLayerZstd})));
  EXPECT_TRUE(is_image(manifest(oci::kDockerConfig, {oci::kDockerForeignLayer})));
  EXPECT_TRUE(is_image(manifest(oci::kOciConfig, {})));
}

TEST(ImageKind, IsNoImageWithAnotherConfigurationOrAnArtifactType) {
  EXPECT_FALSE(calls_itself_image(
      manifest("application/vnd.cncf.helm.config.v1+json", {oci::kOciLayerGzip})));
  auto typed = manifest(oci::kOciConfig, {oci::kOciLayerGzip});
  typed.artifact_type = "application/vnd.example";
  EXPECT_FALSE(calls_itself_image(typed));
  EXPECT_FALSE(is_image(typed));
}

TEST(ImageKind, IsNoImageAsASignatureOfCosign) {
  const auto signature =
      manifest(oci::kOciConfig, {"application/vnd.dev.cosign.simplesigning.v1+json"});

  EXPECT_TRUE(calls_itself_image(signature));
  EXPECT_FALSE(is_image(signature));
}

}  // namespace
}  // namespace runnel::convert
