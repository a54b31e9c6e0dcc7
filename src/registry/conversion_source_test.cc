#include "registry/conversion_source.h"

#include <gtest/gtest.h>

#include "oci/document.h"
#include "oci/media_types.h"
#include "registry/new_manifest.h"
#include "support/fake_clock.h"
#include "support/memory_blob_store.h"
#include "support/memory_metadata_store.h"

namespace runnel::registry {
namespace {

constexpr std::string_view kLayer = "bytes of a layer";
constexpr std::string_view kConfig =
    R"({"os":"linux","architecture":"amd64","rootfs":{"type":"layers","diff_ids":[)"
    R"("sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"]}})";

// The image of one layer is in repository "a"; its blobs are in the store, whoever has them.
class ConversionSourceTest : public testing::Test {
 protected:
  void SetUp() override {
    store(kLayer);
    store(kConfig);
  }

  oci::Digest store(std::string_view bytes) {
    const auto digest = oci::Digest::of(as_bytes(bytes));
    auto upload = blobs_.open_upload("upload", 0).value();
    EXPECT_TRUE(upload->append(as_bytes(bytes)));
    EXPECT_TRUE(upload->commit(digest));
    return digest;
  }
  void link(const std::string& repository, std::string_view bytes) {
    ASSERT_TRUE(metadata_.link_blob(repository, oci::Digest::of(as_bytes(bytes)), bytes.size()));
  }

  static oci::Descriptor descriptor(std::string_view media_type, std::string_view bytes) {
    oci::Descriptor made;
    made.media_type = media_type;
    made.digest = oci::Digest::of(as_bytes(bytes));
    made.size = bytes.size();
    return made;
  }
  // With a layer that may lie elsewhere, so that nobody asks for it when the image is pushed.
  static oci::Manifest image() {
    oci::Manifest made;
    made.media_type = oci::kOciManifest;
    made.config = descriptor(oci::kOciConfig, kConfig);
    made.layers = {descriptor(oci::kOciLayerGzip, kLayer)};
    made.layers[0].urls = {"https://example.com/layer"};
    return made;
  }
  oci::Digest push(std::string_view text, std::string_view media_type, bool blobs_required = true) {
    auto made = new_manifest(as_bytes(text), media_type, oci::Algorithm::kSha256).value();
    made.blobs_required = blobs_required;
    EXPECT_TRUE(metadata_.put_manifest("a", made)->missing.empty());
    return made.digest;
  }
  oci::Digest push(const oci::Manifest& manifest, bool blobs_required = true) {
    return push(oci::to_json(manifest), oci::kOciManifest, blobs_required);
  }

  Convertible<ConversionSource> read(const oci::Digest& digest) {
    return read_conversion_source(metadata_, blobs_, "a", digest, platforms_);
  }
  // The image for arm64, with a variant in its configuration or without, in an index of its own
  // that says this platform of it.
  oci::Digest push_arm64(const std::string& variant, const oci::Platform& platform) {
    std::string config(kConfig);
    config.replace(config.find("amd64"), 5, "arm64");
    if (!variant.empty()) config.insert(1, R"("variant":")" + variant + R"(",)");
    store(config);
    link("a", config);
    link("a", kLayer);
    auto made = image();
    made.config = descriptor(oci::kOciConfig, config);
    const auto text = oci::to_json(made);
    push(text, oci::kOciManifest);
    oci::Index index;
    index.media_type = oci::kOciIndex;
    index.manifests = {descriptor(oci::kOciManifest, text)};
    index.manifests[0].platform = platform;
    return push(oci::to_json(index), oci::kOciIndex);
  }
  std::string failure(const oci::Digest& digest) {
    const auto found = read(digest);
    return found ? "" : found.error().code;
  }

  std::vector<std::string> platforms_;
  test::FakeClock clock_;
  test::MemoryBlobStore blobs_;
  test::MemoryMetadataStore metadata_{test::MemoryMetadataStore::new_data(), clock_};
};

TEST_F(ConversionSourceTest, IsAnImageWhoseBlobsTheRepositoryHas) {
  link("a", kConfig);
  link("a", kLayer);

  const auto source = read(push(image()));

  ASSERT_TRUE(source) << source.error().message;
  ASSERT_EQ(source->images.size(), 1u);
  EXPECT_EQ(source->images[0].manifest.layers[0].digest, oci::Digest::of(as_bytes(kLayer)));
}

TEST_F(ConversionSourceTest, HasNoLayerThatOnlyAnotherRepositoryHas) {
  link("a", kConfig);
  link("b", kLayer);

  EXPECT_EQ(failure(push(image())), "RESOURCE_NOT_FOUND");
}

TEST_F(ConversionSourceTest, SaysTheSameOfALayerThatNobodyHas) {
  link("a", kConfig);
  auto of_absent = image();
  of_absent.layers[0].digest = oci::Digest::of(as_bytes("absent"));
  const auto of_another = push(image());

  const auto absent = read(push(of_absent));
  const auto another = read(of_another);

  ASSERT_FALSE(absent);
  ASSERT_FALSE(another);
  EXPECT_EQ(absent.error().code, another.error().code);
  EXPECT_EQ(absent.error().message, another.error().message);
}

TEST_F(ConversionSourceTest, HasNoConfigurationThatOnlyAnotherRepositoryHas) {
  link("a", kLayer);
  link("b", kConfig);

  EXPECT_EQ(failure(push(image(), /*blobs_required=*/false)), "RESOURCE_NOT_FOUND");
}

TEST_F(ConversionSourceTest, AsksForTheBlobsOfAnIndexesImagesToo) {
  link("a", kConfig);
  link("b", kLayer);
  const auto text = oci::to_json(image());
  push(text, oci::kOciManifest);
  oci::Index index;
  index.media_type = oci::kOciIndex;
  index.manifests = {descriptor(oci::kOciManifest, text)};
  const auto digest = push(oci::to_json(index), oci::kOciIndex);

  EXPECT_EQ(failure(digest), "RESOURCE_NOT_FOUND");

  link("a", kLayer);
  EXPECT_EQ(failure(digest), "");
}

TEST_F(ConversionSourceTest, DoesNotHaveALayerAnyMoreThatWasUnlinked) {
  link("a", kConfig);
  link("a", kLayer);
  ASSERT_EQ(metadata_.unlink_blob("a", oci::Digest::of(as_bytes(kLayer))).value(),
            meta::UnlinkOutcome::kRemoved);

  EXPECT_EQ(failure(push(image())), "RESOURCE_NOT_FOUND");
}

TEST(MayBeConverted, IsAnImageAndNoSignatureOrArtifact) {
  oci::Manifest image;
  image.media_type = oci::kOciManifest;
  image.config.media_type = oci::kOciConfig;
  image.layers.emplace_back().media_type = oci::kOciLayerGzip;
  auto signature = image;
  signature.layers[0].media_type = "application/vnd.dev.cosign.simplesigning.v1+json";
  auto cache = image;
  cache.config.media_type = "application/vnd.buildkit.cacheconfig.v0";
  auto artifact = image;
  artifact.artifact_type = "application/vnd.example";
  auto referrer = image;
  referrer.subject.emplace();

  EXPECT_TRUE(may_be_converted(image, {}));
  for (const auto& other : {signature, cache, artifact, referrer})
    EXPECT_FALSE(may_be_converted(other, {}));
}

TEST(MayBeConverted, IsAnIndexThatMayHaveAnImageForAPlatform) {
  oci::Descriptor child;
  child.media_type = oci::kOciManifest;
  const auto index_of = [](const oci::Descriptor& each) {
    oci::Index made;
    made.manifests = {each};
    return made;
  };
  EXPECT_TRUE(may_be_converted(index_of(child), {"linux/arm64"}));
  child.platform = oci::Platform{.os = "linux", .architecture = "arm64", .variant = "v8"};
  EXPECT_TRUE(may_be_converted(index_of(child), {"linux/arm64"}));
  EXPECT_FALSE(may_be_converted(index_of(child), {"linux/amd64"}));
  child.platform = oci::Platform{.os = "unknown", .architecture = "unknown"};
  EXPECT_FALSE(may_be_converted(index_of(child), {}));
}

// BuildKit's cache, and the list of referrers that clients keep where a registry has none.
TEST(MayBeConverted, IsNoIndexOfBlobsOrOfArtifacts) {
  oci::Index cache;
  cache.manifests.emplace_back().media_type = oci::kOciLayerZstd;
  cache.manifests.emplace_back().media_type = "application/vnd.buildkit.cacheconfig.v0";
  oci::Index referrers;
  auto& entry = referrers.manifests.emplace_back();
  entry.media_type = oci::kOciManifest;
  entry.artifact_type = "application/vnd.dev.cosign.artifact.sig.v1+json";

  EXPECT_FALSE(may_be_converted(cache, {}));
  EXPECT_FALSE(may_be_converted(referrers, {}));
}

TEST_F(ConversionSourceTest, TakesAPlatformWhicheverWayItsVariantIsWritten) {
  const oci::Platform plain{.os = "linux", .architecture = "arm64"};
  const oci::Platform v8{.os = "linux", .architecture = "arm64", .variant = "v8"};
  for (const auto* wanted : {"linux/arm64", "linux/arm64/v8"}) {
    platforms_ = {"linux/amd64", wanted};
    for (const auto* of_configuration : {"", "v8"})
      for (const auto& of_index : {plain, v8})
        EXPECT_EQ(failure(push_arm64(of_configuration, of_index)), "") << wanted;
  }
  platforms_ = {"linux/arm64/v9"};
  EXPECT_EQ(failure(push_arm64("v9", v8)), "NO_SUPPORTED_PLATFORM_FOUND");
}

TEST_F(ConversionSourceTest, BelievesAnIndexOfThePlatform) {
  platforms_ = {"linux/arm64/v9"};
  const oci::Platform v9{.os = "linux", .architecture = "arm64", .variant = "v9"};

  EXPECT_EQ(failure(push_arm64("", v9)), "");
}

TEST_F(ConversionSourceTest, LeavesOutWhatIsNoImageAmongAnIndexesEntries) {
  link("a", kConfig);
  link("a", kLayer);
  auto chart = image();
  chart.config.media_type = "application/vnd.cncf.helm.config.v1+json";
  auto typed = image();
  typed.artifact_type = "application/vnd.example";
  auto signature = image();
  signature.layers[0].media_type = "application/vnd.dev.cosign.simplesigning.v1+json";
  auto artifact = image();
  artifact.artifact_type = oci::kStreamingArtifactHere;
  oci::Index index;
  index.media_type = oci::kOciIndex;
  for (const auto& each : {chart, typed, signature, artifact, image()}) {
    const auto text = oci::to_json(each);
    push(text, oci::kOciManifest);
    index.manifests.push_back(descriptor(oci::kOciManifest, text));
  }
  index.manifests[0].platform = oci::Platform{.os = "linux", .architecture = "amd64"};

  const auto source = read(push(oci::to_json(index), oci::kOciIndex));

  ASSERT_TRUE(source) << source.error().code;
  ASSERT_EQ(source->images.size(), 1u);
  EXPECT_EQ(source->images[0].descriptor.digest, index.manifests.back().digest);
}

// What the index calls an image for a platform must be one.
TEST_F(ConversionSourceTest, SaysThatAnImageForAPlatformCannotBeConverted) {
  link("a", kConfig);
  link("a", kLayer);
  auto encrypted = image();
  encrypted.layers[0].media_type = "application/vnd.oci.image.layer.v1.tar+gzip+encrypted";
  const auto text = oci::to_json(encrypted);
  push(text, oci::kOciManifest);
  oci::Index index;
  index.media_type = oci::kOciIndex;
  index.manifests = {descriptor(oci::kOciManifest, text)};
  index.manifests[0].platform = oci::Platform{.os = "linux", .architecture = "amd64"};

  EXPECT_EQ(failure(push(oci::to_json(index), oci::kOciIndex)), "IMAGE_NOT_RUNNABLE");
}

// Its layers lie elsewhere as a rule, and are not what is wrong with it.
TEST_F(ConversionSourceTest, SaysOfAnotherPlatformThatItIsOne) {
  std::string config(kConfig);
  config.replace(config.find("linux"), 5, "windows");
  store(config);
  link("a", config);
  auto windows = image();
  windows.config = descriptor(oci::kOciConfig, config);

  EXPECT_EQ(failure(push(windows)), "UNSUPPORTED_PLATFORM");
}

}  // namespace
}  // namespace runnel::registry
