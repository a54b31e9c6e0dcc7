#include "registry/image_scope.h"

#include <gtest/gtest.h>

#include <string>

#include "meta/sqlite_store.h"
#include "oci/document.h"
#include "oci/media_types.h"
#include "registry/new_manifest.h"
#include "support/fake_clock.h"
#include "support/memory_metadata_store.h"
#include "support/temp_dir.h"

namespace runnel::registry {
namespace {

using Kind = Route::Kind;

constexpr const char* kRepository = "team/app";

oci::Descriptor descriptor_of(std::string_view bytes, std::string_view type) {
  oci::Descriptor made;
  made.media_type = type;
  made.digest = oci::Digest::of(as_bytes(bytes));
  made.size = bytes.size();
  return made;
}

oci::Digest put(meta::MetadataStore& store, const std::string& bytes) {
  const auto made = new_manifest(as_bytes(bytes), {}, oci::Algorithm::kSha256).value();
  for (const auto& blob : made.blobs) EXPECT_TRUE(store.link_blob(kRepository, blob, 1));
  EXPECT_TRUE(store.put_manifest(kRepository, made));
  return made.digest;
}

// The JSON of an image with this one layer, or of a referrer of `subject` with this blob.
std::string image(const std::string& layer, const std::optional<oci::Descriptor>& subject = {}) {
  oci::Manifest made;
  made.media_type = oci::kOciManifest;
  made.config = descriptor_of("config of " + layer, oci::kOciConfig);
  made.layers = {descriptor_of(layer, oci::kOciLayerTar)};
  made.subject = subject;
  if (subject) made.artifact_type = "application/x-test";
  return oci::to_json(made);
}

std::string index(const std::vector<std::string>& manifests, const std::string& note = "") {
  oci::Index made;
  made.media_type = oci::kOciIndex;
  for (const auto& each : manifests)
    made.manifests.push_back(descriptor_of(each, oci::kOciManifest));
  made.annotations = {{"note", note}};
  return oci::to_json(made);
}

Route route(Kind kind, const oci::Digest& target) {
  return {.kind = kind, .repository = kRepository, .target = target.to_string()};
}

Route blob(const std::string& bytes) {
  return route(Kind::kBlob, oci::Digest::of(as_bytes(bytes)));
}

class ImageScopeTest : public testing::Test {
 protected:
  bool belongs(const Route& route, const std::vector<oci::Digest>& images) {
    calls_ = 0;
    return belongs_to_images(store_, route, images).value();
  }

  const SystemClock clock_;
  size_t calls_ = 0;
  test::MemoryMetadataStore store_{test::MemoryMetadataStore::new_data(), clock_,
                                   [this] { ++calls_; }};
};

// Whoever pushes and pulls an image of their own chooses all of these numbers.
TEST_F(ImageScopeTest, AsksAboutEachImageAndEachManifestOfAnIndexOnce) {
  const auto child = image("layer");
  put(store_, child);
  for (int i = 0; i < 32; ++i)
    put(store_, image(std::to_string(i), descriptor_of(child, oci::kOciManifest)));
  const auto listed = put(store_, index(std::vector(32, child)));
  put(store_, image("another's"));
  const std::vector images(32, listed);

  EXPECT_FALSE(belongs(blob("another's"), images));
  EXPECT_LT(calls_, 10u);
  EXPECT_FALSE(belongs(route(Kind::kManifest, oci::Digest::of(as_bytes("absent"))), images));
  EXPECT_LT(calls_, 10u);
  EXPECT_TRUE(belongs(blob("layer"), images));
  EXPECT_TRUE(belongs(blob("31"), images));
}

TEST_F(ImageScopeTest, ReachesALayerThatMayLieElsewhereAndIsHere) {
  oci::Manifest made;
  made.media_type = oci::kOciManifest;
  made.config = descriptor_of("config", oci::kOciConfig);
  made.layers = {descriptor_of("elsewhere", oci::kOciLayerTar)};
  made.layers.front().urls = {"https://elsewhere.example/layer"};
  const auto digest = put(store_, oci::to_json(made));
  EXPECT_FALSE(belongs(blob("elsewhere"), {digest}));

  ASSERT_TRUE(store_.link_blob(kRepository, oci::Digest::of(as_bytes("elsewhere")), 9));

  EXPECT_TRUE(belongs(blob("elsewhere"), {digest}));
}

TEST_F(ImageScopeTest, LooksForNothingThatTheRepositoryDoesNotHave) {
  std::vector<std::string> children;
  for (int i = 0; i < 32; ++i) {
    children.push_back(image(std::to_string(i)));
    put(store_, children.back());
  }
  const auto listed = put(store_, index(children));

  EXPECT_FALSE(belongs(blob("absent"), {listed}));
  EXPECT_EQ(calls_, 1u);
}

TEST_F(ImageScopeTest, ReadsABoundedPartOfTheIndexes) {
  std::vector<oci::Digest> indexes;
  for (int i = 0; i < 4; ++i) {
    const auto child = image(std::to_string(i));
    put(store_, child);
    indexes.push_back(put(store_, index({child}, std::string(3 << 20, 'x'))));
  }

  size_t reached = 0;
  for (int i = 0; i < 4; ++i) {
    EXPECT_TRUE(belongs(blob(std::to_string(i)), {indexes[i]})) << "alone each is read";
    reached += belongs(blob(std::to_string(i)), indexes) ? 1 : 0;
  }
  EXPECT_EQ(reached, kMostIndexBytes / (3 << 20));
}

TEST_F(ImageScopeTest, GivesNothingOfADeletedManifestThroughItsIndex) {
  const auto child = image("layer");
  const auto digest = put(store_, child);
  const auto artifact = put(store_, image("boot", descriptor_of(child, oci::kOciManifest)));
  const auto listed = put(store_, index({child}));
  ASSERT_TRUE(belongs(blob("boot"), {listed}));
  ASSERT_TRUE(belongs(route(Kind::kManifest, artifact), {listed}));

  ASSERT_TRUE(store_.delete_manifest(kRepository, digest, meta::Undo::kPossible).value());

  for (const auto& target : {blob("layer"), blob("boot"), route(Kind::kManifest, artifact)})
    EXPECT_FALSE(belongs(target, {listed})) << target.target;
}

class ImageRightsTest : public testing::Test {
 protected:
  std::unique_ptr<meta::MetadataStore> open() {
    return meta::SqliteStore::open(directory_.path() + "/db", clock_).value();
  }
  bool reach(const Route& route, const oci::Digest& image) {
    return rights_.reach(route, {image}, std::chrono::steady_clock::now()).value();
  }

  test::FakeClock clock_;
  test::TempDir directory_;
  const std::unique_ptr<meta::MetadataStore> store_ = open();
  const std::unique_ptr<meta::MetadataStore> other_process_ = open();
  ImageRights rights_{*store_};
};

TEST_F(ImageRightsTest, EndWithTheImageWhicheverProcessDeletesIt) {
  const auto bytes = image("layer");
  const auto digest = oci::Digest::of(as_bytes(bytes));
  for (auto* deleting : {store_.get(), other_process_.get()}) {
    put(*store_, bytes);
    for (int i = 0; i < 2; ++i) EXPECT_TRUE(reach(blob("layer"), digest));
    ASSERT_TRUE(deleting->delete_manifest(kRepository, digest, meta::Undo::kPossible).value());
    for (int i = 0; i < 2; ++i) EXPECT_FALSE(reach(blob("layer"), digest));
  }
}

TEST_F(ImageRightsTest, AreNotTakenForThoseOfOtherImagesOrThings) {
  const auto mine = put(*store_, image("mine"));
  const auto other = put(*store_, image("other"));

  for (int i = 0; i < 2; ++i) {
    EXPECT_TRUE(reach(blob("mine"), mine));
    EXPECT_FALSE(reach(blob("mine"), other));
    EXPECT_TRUE(reach(route(Kind::kManifest, mine), mine));
    EXPECT_FALSE(reach(route(Kind::kBlob, mine), mine));
  }
}

}  // namespace
}  // namespace runnel::registry
