#include "node/image_store.h"

#include <fcntl.h>
#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>

#include "base/fd.h"
#include "base/worker_pool.h"
#include "convert/boot_builder.h"
#include "convert/layer_converter.h"
#include "oci/media_types.h"
#include "support/tar_builder.h"
#include "support/temp_dir.h"

namespace runnel::node {
namespace {

namespace fs = std::filesystem;

// An image of one layer, as a node has it when its artifact, head and tables have come.
class ImageStoreTest : public testing::Test {
 protected:
  void SetUp() override {
    const auto tar = test::TarBuilder().file("a", "content").end().bytes();
    convert::LayerFile file;
    file.file =
        std::make_shared<UniqueFd>(open_file(dir_.path() + "/blob", O_RDWR | O_CREAT).value());
    WorkerPool pool(1);
    convert::LayerConverter converter(file.file->get(), pool, oci::Digest::of(tar));
    ASSERT_TRUE(converter.feed(tar));
    auto converted = converter.finish().value();
    file.blob = converted.blob;
    const auto blob = convert::build_boot_blob({&file}, {converted.tree}, {}).value();

    artifact::ArtifactLayer layer;
    layer.source = layer.diff_id = oci::Digest::of(tar);
    layer.blob = oci::Digest::from_sha256(file.blob.digest);
    layer.blob_size = file.blob.size;
    layer.table_digest = file.blob.parts.table_digest;
    image_.artifact.subject = {.media_type = std::string(oci::kOciManifest),
                               .digest = oci::Digest::of(as_bytes("manifest")),
                               .size = 8};
    image_.artifact.platform = {.os = "linux", .architecture = "amd64"};
    image_.artifact.artifact_type = artifact::kArtifactType;
    image_.artifact.producer = artifact::producer();
    image_.artifact.layers = {layer};
    image_.artifact.boot = oci::Digest::of(blob.bytes);
    image_.artifact.boot_size = blob.bytes.size();
    image_.artifact.head_size = blob.head_size;
    head_ = {blob.bytes.begin(), blob.bytes.begin() + static_cast<ptrdiff_t>(blob.head_size)};
    image_.artifact.head = oci::Digest::of(head_);
    manifest_ = oci::to_json(artifact::to_manifest(image_.artifact));
    auto head = artifact::open_head(image_.artifact, head_).value();
    const auto tables = Bytes(blob.bytes).subspan(blob.head_size, head.tables_size());
    tables_ = {tables.begin(), tables.end()};
    image_.boot = artifact::open_tables(image_.artifact, std::move(head), tables_, nullptr).value();
    image_.host = "registry.example";
    image_.repository = "app";
    image_.subject = image_.artifact.subject.digest;
    image_.chain_ids = {oci::Digest::of(tar)};
    image_.layer_sizes = {tar.size()};
  }

  [[nodiscard]] ImageStore open() const { return ImageStore::open(dir_.path()).value(); }
  [[nodiscard]] Result<void> write(const ImageStore& store) {
    return store.write(image_, as_bytes(manifest_), head_, tables_);
  }
  [[nodiscard]] ImageStore::Loaded reopened() const { return open().load_all().value(); }

  test::TempDir dir_;
  StreamedImage image_;
  std::string manifest_;
  Buffer head_;
  Buffer tables_;
};

TEST_F(ImageStoreTest, FindsAgainWhatWasKept) {
  const auto store = open();
  ASSERT_TRUE(write(store));
  ASSERT_TRUE(store.keep(image_));

  const auto loaded = reopened();

  EXPECT_TRUE(loaded.damaged.empty());
  ASSERT_EQ(loaded.images.size(), 1u);
  const auto& again = loaded.images.front();
  EXPECT_EQ(again.name(), image_.name());
  EXPECT_EQ(again.chain_ids, image_.chain_ids);
  EXPECT_EQ(again.layer_sizes, image_.layer_sizes);
  EXPECT_EQ(again.artifact, image_.artifact);
  EXPECT_EQ(again.metadata_path(), image_.metadata_path());
  EXPECT_EQ(fs::file_size(again.metadata_path()), image_.boot.head.stored.size);
}

TEST_F(ImageStoreTest, HasTheMetadataReadyToMountBeforeItIsKept) {
  ASSERT_TRUE(write(open()));

  EXPECT_EQ(fs::file_size(image_.metadata_path()), image_.boot.head.stored.size);
  ASSERT_EQ(image_.boot.tables.size(), 1u);
  EXPECT_EQ(image_.boot.tables[0].digest(), image_.artifact.layers[0].table_digest);
}

// As after a power loss, of whatever of the files had reached the disk.
TEST_F(ImageStoreTest, FindsNothingOfWhatWasNotKept) {
  ASSERT_TRUE(write(open()));
  fs::resize_file(image_.metadata_path(), 0);

  const auto loaded = reopened();

  EXPECT_TRUE(loaded.images.empty());
  EXPECT_TRUE(loaded.damaged.empty());
  EXPECT_FALSE(fs::exists(image_.directory));
}

TEST_F(ImageStoreTest, MakesTheMetadataAnewWhenTheDiskHasChangedIt) {
  const auto store = open();
  ASSERT_TRUE(write(store));
  ASSERT_TRUE(store.keep(image_));
  std::ofstream(image_.metadata_path(), std::ios::in | std::ios::out) << "nonsense";

  const auto loaded = reopened();

  EXPECT_EQ(loaded.images.size(), 1u);
  EXPECT_TRUE(loaded.damaged.empty());
}

TEST_F(ImageStoreTest, SaysWhatIsDamagedAndLeavesItThere) {
  const auto store = open();
  ASSERT_TRUE(write(store));
  ASSERT_TRUE(store.keep(image_));
  fs::resize_file(image_.directory + "/boot", 10);

  const auto loaded = reopened();

  EXPECT_TRUE(loaded.images.empty());
  ASSERT_EQ(loaded.damaged.size(), 1u);
  EXPECT_NE(loaded.damaged.front().find("is shorter than its head"), std::string::npos);
  EXPECT_EQ(loaded.damaged_subjects.size(), 1u);
  EXPECT_EQ(loaded.damaged_subjects.begin()->size(), 64u);
  EXPECT_TRUE(fs::exists(image_.record_path()));
}

// It would be offered in the other's place.
TEST_F(ImageStoreTest, GivesNoImageTheArtifactOfAnother) {
  const auto store = open();
  image_.subject = oci::Digest::of(as_bytes("another manifest"));
  ASSERT_TRUE(write(store));
  ASSERT_TRUE(store.keep(image_));

  const auto loaded = reopened();

  EXPECT_TRUE(loaded.images.empty());
  ASSERT_EQ(loaded.damaged.size(), 1u);
  EXPECT_NE(
      loaded.damaged.front().find("artifact.json of " + image_.artifact.subject.digest.to_string()),
      std::string::npos);
}

TEST_F(ImageStoreTest, WritesAnImageAnewInPlaceOfAnEarlierOne) {
  const auto store = open();
  ASSERT_TRUE(write(store));
  ASSERT_TRUE(store.keep(image_));
  std::ofstream(image_.directory + "/1.erofs") << "of the earlier one";

  ASSERT_TRUE(write(store));
  ASSERT_TRUE(store.keep(image_));

  EXPECT_FALSE(fs::exists(image_.directory + "/1.erofs"));
  EXPECT_EQ(reopened().images.size(), 1u);
}

TEST_F(ImageStoreTest, LeavesNothingOfWhatItCannotWrite) {
  const auto store = open();
  head_.back() ^= std::byte{1};  // the metadata's last bytes

  EXPECT_FALSE(write(store));

  EXPECT_FALSE(fs::exists(image_.directory));
}

TEST_F(ImageStoreTest, RemovesAnImage) {
  const auto store = open();
  ASSERT_TRUE(write(store));
  ASSERT_TRUE(store.keep(image_));

  ASSERT_TRUE(store.remove(image_));

  EXPECT_FALSE(fs::exists(image_.directory));
  EXPECT_TRUE(reopened().images.empty());
}

}  // namespace
}  // namespace runnel::node
