#include "convert/verify.h"

#include <fcntl.h>
#include <gtest/gtest.h>

#include <functional>

#include "convert/boot_builder.h"
#include "convert/convert.h"
#include "convert/layer_converter.h"
#include "oci/document.h"
#include "oci/image_config.h"
#include "oci/media_types.h"
#include "support/anonymous.h"
#include "support/fake_registry.h"
#include "support/tar_builder.h"
#include "support/temp_dir.h"

namespace runnel::convert {
namespace {

using artifact::Artifact;

// What is changed of an artifact on its way.
struct Changes {
  std::function<void(Buffer&)> blob = [](Buffer&) {};  // the first layer's
  std::function<void(artifact::LayerTree&)> merged = [](artifact::LayerTree&) {};
};

// An image of two layers in a registry, and artifacts of it that are made of other layers than they
// say.
class VerifyTest : public testing::Test {
 protected:
  static Buffer lower(char content = 'l', uint32_t mode = 0644) {
    std::string text(300'000, 'x');
    text[200'000] = content;
    return test::TarBuilder()
        .directory("etc/")
        .add({.name = "etc/conf", .mode = mode}, "setting\n")
        .file("data", text)
        .symlink("link", "data")
        .end()
        .bytes();
  }
  static Buffer upper() {
    return test::TarBuilder()
        .directory("etc/")
        .file("etc/.wh.conf", "")
        .file("new", "n")
        .end()
        .bytes();
  }

  void SetUp() override {
    std::string config =
        R"({"os":"linux","architecture":"amd64","rootfs":{"type":"layers","diff_ids":[)";
    oci::Manifest manifest;
    manifest.media_type = oci::kOciManifest;
    for (const auto& tar : {lower(), upper()}) {
      const auto digest = registry_.add_blob(as_text(tar));
      config += fmt::format("{}\"{}\"", config.ends_with('[') ? "" : ",", digest);
      oci::Descriptor layer;
      layer.media_type = "application/vnd.oci.image.layer.v1.tar";
      layer.digest = digest;
      layer.size = tar.size();
      manifest.layers.push_back(layer);
    }
    config += "]}}";
    manifest.config.media_type = "application/vnd.oci.image.config.v1+json";
    manifest.config.digest = registry_.add_blob(config);
    manifest.config.size = config.size();
    manifest_ = manifest;
    const auto json = oci::to_json(manifest);
    subject_.media_type = manifest.media_type;
    subject_.digest = registry_.add_manifest("app", "v1", manifest.media_type, json);
    subject_.size = json.size();
  }

  // Pushes an artifact whose blobs are made of these layers, and that claims the image's.
  void push_artifact(const std::vector<Buffer>& made_of, const std::string& producer,
                     const Changes& changes = {}) {
    std::vector<LayerFile> files;
    std::vector<artifact::LayerTree> trees;
    Artifact made;
    for (const auto& tar : made_of) {
      auto file = std::make_shared<UniqueFd>(
          open_file(dir_.path() + "/" + std::to_string(next_file_++), O_RDWR | O_CREAT).value());
      LayerConverter converter(file->get(), pool_, oci::Digest::of(tar));
      ASSERT_TRUE(converter.feed(tar));
      auto converted = converter.finish().value();
      Buffer bytes(converted.blob.size);
      ASSERT_TRUE(read_exact_at(file->get(), bytes, 0));
      if (files.empty()) {
        changes.blob(bytes);
        changes.merged(converted.tree);
        converted.blob.digest = codec::sha256(bytes);
      }
      files.push_back({.file = file, .blob = converted.blob});
      trees.push_back(std::move(converted.tree));
      const auto& claimed = manifest_.layers[made.layers.size()].digest;
      made.layers.push_back({.source = claimed,
                             .diff_id = claimed,
                             .blob = registry_.add_blob(as_text(bytes)),
                             .blob_size = bytes.size(),
                             .table_digest = converted.blob.parts.table_digest});
    }
    std::vector<const LayerFile*> all;
    for (const auto& each : files) all.push_back(&each);
    const auto boot = build_boot_blob(all, std::move(trees), {.files = {"/data"}}).value();
    made.subject = subject_;
    made.platform = {.os = "linux", .architecture = "amd64"};
    made.artifact_type = artifact::kArtifactType;
    made.producer = producer;
    made.boot = registry_.add_blob(as_text(boot.bytes));
    made.boot_size = boot.bytes.size();
    made.head = oci::Digest::of(Bytes(boot.bytes).first(boot.head_size));
    made.head_size = boot.head_size;
    registry_.add_blob(artifact::kConfigBlob);
    artifact_ = made;
    ASSERT_TRUE(repository().push_referrer(artifact::to_manifest(made)));
  }

  remote::Repository repository() { return {gateway_, registry_.host(), "app"}; }

  Result<std::vector<Verified>> verify() {
    VerifyOptions options;
    options.work_directory = dir_.path();
    return verify_image(repository(), "v1", options);
  }
  std::string refusal() {
    const auto verified = verify();
    return verified ? "" : verified.error().message;
  }

  test::TempDir dir_;
  test::FakeRegistry registry_;
  SystemClock clock_;
  net::Client client_{net::Client::Options{}};
  std::shared_ptr<remote::Gateway> gateway_ = std::make_shared<remote::Gateway>(
      client_, remote::Hosts(), std::make_shared<test::Anonymous>(), clock_);
  WorkerPool pool_{2};
  oci::Manifest manifest_;
  oci::Descriptor subject_;
  Artifact artifact_;
  int next_file_ = 0;
};

TEST_F(VerifyTest, an_artifact_of_its_image_is_equal_in_every_byte) {
  push_artifact({lower(), upper()}, artifact::producer());
  const auto verified = verify();
  ASSERT_TRUE(verified) << verified.error().message;
  ASSERT_EQ(verified->size(), 1);
  EXPECT_EQ(verified->front().subject, subject_.digest);
  EXPECT_TRUE(verified->front().same_bytes);
  EXPECT_EQ(verified->front().layers, 2);
  EXPECT_GE(verified->front().chunks, 4);
}

TEST_F(VerifyTest, what_convert_makes_verifies) {
  Options options;
  options.work_directory = dir_.path();
  auto repository = this->repository();
  ASSERT_TRUE(convert_image(repository, "v1", options));
  EXPECT_TRUE(verify()) << refusal();
}

TEST_F(VerifyTest, the_content_of_another_producers_artifact_is_compared) {
  push_artifact({lower(), upper()}, "runnel/0.0.1 zstd/1.0.0 level/9");
  const auto verified = verify();
  ASSERT_TRUE(verified) << verified.error().message;
  EXPECT_FALSE(verified->front().same_bytes);
  push_artifact({lower('!'), upper()}, "runnel/0.0.1 zstd/1.0.0 level/9");
  EXPECT_NE(refusal().find("chunk 2 has the digest"), std::string::npos) << refusal();
}

TEST_F(VerifyTest, a_flipped_byte_in_a_chunk_is_found) {
  push_artifact({lower('m'), upper()}, artifact::producer());
  EXPECT_NE(refusal().find("layer 1 (made from "), std::string::npos) << refusal();
  EXPECT_NE(refusal().find("chunk 2 has the digest"), std::string::npos) << refusal();
}

TEST_F(VerifyTest, a_changed_mode_in_the_tree_is_found) {
  push_artifact({lower('l', 04755), upper()}, artifact::producer());
  EXPECT_NE(refusal().find("its tree: /etc/conf: its mode is 104755, expected 100644"),
            std::string::npos)
      << refusal();
}

TEST_F(VerifyTest, the_chunk_table_of_another_layer_is_found) {
  push_artifact({upper(), lower()}, artifact::producer());
  EXPECT_NE(refusal().find("layer 1 (made from "), std::string::npos) << refusal();
  EXPECT_NE(refusal().find("chunk 0 has"), std::string::npos) << refusal();
}

TEST_F(VerifyTest, a_blob_with_other_bytes_than_its_table_says_is_found) {
  push_artifact({lower(), upper()}, "another",
                {.blob = [](Buffer& bytes) { bytes[20] ^= std::byte{1}; }});
  EXPECT_NE(refusal().find("chunk 0 of its blob"), std::string::npos) << refusal();
}

TEST_F(VerifyTest, metadata_that_is_not_merged_from_the_layers_is_found) {
  push_artifact({lower(), upper()}, artifact::producer(), {.merged = [](artifact::LayerTree& tree) {
                  for (auto& inode : tree.inodes)
                    if (inode.size == 300'000) inode.mode = 0104755;
                }});
  EXPECT_NE(refusal().find("merged metadata: /data: its mode is 104755, expected 100644"),
            std::string::npos)
      << refusal();
}

TEST_F(VerifyTest, a_layer_that_another_whiteout_would_hide_is_found) {
  push_artifact({lower(), test::TarBuilder().directory("etc/").file("new", "n").end().bytes()},
                artifact::producer());
  EXPECT_NE(refusal().find("/etc: \"conf\" is missing in it"), std::string::npos) << refusal();
}

TEST_F(VerifyTest, bytes_that_went_bad_in_the_registry_are_found) {
  push_artifact({lower(), upper()}, artifact::producer());
  registry_.inject("blobs/" + artifact_.layers[0].blob.to_string(), {.corrupt = true}, 100);
  EXPECT_FALSE(verify());
}

TEST_F(VerifyTest, an_image_without_artifact_is_not_found) {
  const auto verified = verify();
  ASSERT_FALSE(verified);
  EXPECT_EQ(verified.error().code, Code::kNotFound);
}

}  // namespace
}  // namespace runnel::convert
