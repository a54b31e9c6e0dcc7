#include "convert/boot_builder.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/stat.h>

#include <random>

#include "artifact/open_boot.h"
#include "convert/layer_converter.h"
#include "erofs/erofs.h"
#include "support/tar_builder.h"
#include "support/temp_dir.h"

namespace runnel::convert {
namespace {

using artifact::Artifact;

// Images of real layers, their boot blobs, and the manifest's word on them.
class BootTest : public testing::Test {
 protected:
  struct Layer {
    LayerFile file;
    artifact::LayerTree tree;
  };

  Layer layer(const Buffer& tar) {
    const auto path = dir_.path() + "/" + std::to_string(files_++);
    Layer out;
    auto file = std::make_shared<UniqueFd>(open_file(path, O_RDWR | O_CREAT).value());
    LayerConverter converter(file->get(), pool_, oci::Digest::of(tar));
    EXPECT_TRUE(converter.feed(tar));
    auto converted = converter.finish().value();
    out.file = {.file = file, .blob = converted.blob};
    out.tree = std::move(converted.tree);
    return out;
  }

  static BootBlob build(const std::vector<const Layer*>& layers,
                        const std::vector<std::string>& hot = {}) {
    std::vector<const LayerFile*> files;
    std::vector<artifact::LayerTree> trees;
    for (const auto* each : layers) {
      files.push_back(&each->file);
      trees.push_back(each->tree);
    }
    return build_boot_blob(files, std::move(trees), {.files = hot}).value();
  }

  static Artifact manifest_of(const std::vector<const Layer*>& layers, const BootBlob& boot) {
    Artifact out;
    for (const auto* each : layers) {
      artifact::ArtifactLayer entry;
      entry.blob = oci::Digest::from_sha256(each->file.blob.digest);
      entry.blob_size = each->file.blob.size;
      entry.table_digest = each->file.blob.parts.table_digest;
      out.layers.push_back(entry);
    }
    out.boot_size = boot.bytes.size();
    out.head_size = boot.head_size;
    out.head = oci::Digest::of(Bytes(boot.bytes).first(boot.head_size));
    return out;
  }

  // Puts another head, and its digest, before the same tables.
  static void replace_head(BootBlob& boot, Artifact& artifact, const artifact::BootHead& head) {
    Buffer bytes = artifact::serialize_head(head);
    artifact.head = oci::Digest::of(bytes);
    artifact.head_size = bytes.size();
    const auto rest = Bytes(boot.bytes).subspan(boot.head_size);
    bytes.insert(bytes.end(), rest.begin(), rest.end());
    artifact.boot_size = bytes.size();
    boot = {.bytes = std::move(bytes), .head_size = artifact.head_size};
  }

  static void expect_refused(const Artifact& artifact, Bytes bytes, const std::string& reason) {
    const auto opened = artifact::open_boot(artifact, bytes);
    ASSERT_FALSE(opened) << reason;
    EXPECT_EQ(opened.error().code, Code::kInvalid) << reason;
    EXPECT_NE(opened.error().message.find(reason), std::string::npos) << opened.error().message;
  }

  test::TempDir dir_;
  int files_ = 0;
  WorkerPool pool_{2};
  Layer data_ = layer(
      test::TarBuilder().file("hot", std::string(300'000, 'h')).file("small", "s").end().bytes());
  Layer empty_ = layer(test::TarBuilder().directory("d/").end().bytes());
  Layer upper_ = layer(test::TarBuilder().file("d/new", "n").end().bytes());
};

TEST_F(BootTest, OpensWithSeveralLayersOneOfThemTwiceAndOneWithoutData) {
  const std::vector<const Layer*> layers = {&data_, &empty_, &upper_, &data_};
  const auto boot = build(layers, {"/hot", "/absent", "/d", "/hot"});

  const auto opened = artifact::open_boot(manifest_of(layers, boot), boot.bytes);

  ASSERT_TRUE(opened) << opened.error().message;
  EXPECT_EQ(opened->tables.size(), 2u);
  EXPECT_EQ(opened->head.layers[1].slot, 0);
  EXPECT_EQ(opened->head.layers[3].slot, 1);
  EXPECT_EQ(opened->record_of(2).blob_digest, upper_.file.blob.digest);
  EXPECT_EQ(opened->head.hot.size(), 3u);  // 300000 bytes in chunks of 128 KiB, once
  const auto& chunk = opened->tables[0].at(opened->head.hot[0].chunk);
  Buffer frame(chunk.stored_size);
  ASSERT_TRUE(read_exact_at(data_.file.file->get(), frame, chunk.blob_offset));
  EXPECT_TRUE(
      std::ranges::equal(Bytes(boot.bytes).subspan(opened->hot_offset, frame.size()), frame));
}

TEST_F(BootTest, TakesAProfilesChunksInItsOrderAsFarAsItsLayersAreTheImages) {
  std::string noise(1'200'000, ' ');  // ten chunks that do not compress, and a small one
  std::mt19937 random(1);
  for (char& c : noise) c = static_cast<char>(random());
  const Layer big = layer(test::TarBuilder().file("noise", noise).end().bytes());
  const auto digest = oci::Digest::from_sha256(big.file.blob.digest);
  const artifact::Profile profile{.image = "x",
                                  .layers = {oci::Digest::of(as_bytes("another")), digest},
                                  .chunks = {{.layer = 0, .chunk = 0},
                                             {.layer = 1, .chunk = 9},
                                             {.layer = 1, .chunk = 9'999},
                                             {.layer = 1, .chunk = 3},
                                             {.layer = 1, .chunk = 9},
                                             {.layer = 1, .chunk = 5},
                                             {.layer = 1, .chunk = 6}}};
  std::vector<const LayerFile*> files = {&empty_.file, &big.file};
  std::vector<artifact::LayerTree> trees = {empty_.tree, big.tree};

  const auto boot = build_boot_blob(files, trees, {.profile = profile}).value();

  // A quarter of the image, at most: the smaller last chunk and two of 128 KiB.
  const auto opened = artifact::open_boot(manifest_of({&empty_, &big}, boot), boot.bytes);
  ASSERT_TRUE(opened) << opened.error().message;
  EXPECT_EQ(opened->head.hot,
            (std::vector<artifact::HotEntry>{
                {.layer = 1, .chunk = 9}, {.layer = 1, .chunk = 3}, {.layer = 1, .chunk = 5}}));
}

TEST_F(BootTest, GuessesWhatTheStartReadsWhereNoProfileFits) {
  std::string noise(400'000, ' ');
  std::mt19937 random(2);
  for (char& c : noise) c = static_cast<char>(random());
  const Layer big = layer(test::TarBuilder()
                              .file("noise", noise)
                              .file("app/run", "#!/app/interpreter\n")
                              .file("app/interpreter", "no program")
                              .end()
                              .bytes());
  const std::vector<const LayerFile*> files = {&big.file};
  const oci::Process process{.arguments = {"/app/run"}, .environment = {}, .working_directory = ""};
  const auto hot = [&](std::vector<artifact::Profile::Chunk> chunks) {
    const artifact::Profile profile{.image = "x",
                                    .layers = {oci::Digest::from_sha256(big.file.blob.digest)},
                                    .chunks = std::move(chunks)};
    const auto boot =
        build_boot_blob(files, {big.tree}, {.profile = profile, .process = process}).value();
    return artifact::open_boot(manifest_of({&big}, boot), boot.bytes)->head.hot;
  };

  EXPECT_EQ(hot({}), (std::vector<artifact::HotEntry>{{.layer = 0, .chunk = 4}}));
  EXPECT_EQ(hot({{.layer = 0, .chunk = 99}}), hot({})) << "nothing of it fits";
  EXPECT_EQ(hot({{.layer = 0, .chunk = 3}}),
            (std::vector<artifact::HotEntry>{{.layer = 0, .chunk = 3}}));
}

TEST_F(BootTest, OfLayersWithoutDataHasNoTables) {
  const std::vector<const Layer*> layers = {&empty_, &empty_};
  const auto boot = build(layers, {"/d"});

  const auto opened = artifact::open_boot(manifest_of(layers, boot), boot.bytes);

  ASSERT_TRUE(opened) << opened.error().message;
  EXPECT_TRUE(opened->tables.empty());
  EXPECT_EQ(opened->hot_offset, boot.bytes.size());
}

TEST_F(BootTest, RefusesMoreLayersThanAReaderTakes) {
  const std::vector<const LayerFile*> files(artifact::kMaxLayers + 1, &empty_.file);
  const std::vector<artifact::LayerTree> trees(files.size(), empty_.tree);
  EXPECT_EQ(build_boot_blob(files, trees).error().code, Code::kUnsupported);
}

TEST_F(BootTest, RefusesMoreTablesThanAReaderTakesBeforeItReadsOne) {
  auto lower = data_.file;
  auto upper = upper_.file;
  lower.blob.parts.table_size = artifact::kMaxTablesSize;
  const auto refused = build_boot_blob({&lower, &upper}, {data_.tree, upper_.tree});

  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().code, Code::kExhausted);
  EXPECT_NE(refused.error().message.find("can be streamed"), std::string::npos);
}

TEST_F(BootTest, IsRefusedWhereItDisagreesWithTheManifest) {
  const std::vector<const Layer*> layers = {&data_, &upper_};
  const auto boot = build(layers);
  const auto good = manifest_of(layers, boot);

  auto wrong = good;
  wrong.generation = 2;
  expect_refused(wrong, boot.bytes, "generation 1, the manifest says 2");
  wrong = good;
  wrong.layers.pop_back();
  expect_refused(wrong, boot.bytes, "2 layers, the manifest has 1");
  wrong = good;
  wrong.layers[1].blob = wrong.layers[0].blob;
  expect_refused(wrong, boot.bytes, "layer 1 is not the manifest's");
  wrong = good;
  wrong.layers[0].blob_size += 1;
  expect_refused(wrong, boot.bytes, "layer 0 is not the manifest's");
  wrong = good;
  wrong.layers[0].table_digest = wrong.layers[1].table_digest;
  expect_refused(wrong, boot.bytes, "layer 0 is not the manifest's");
  wrong = good;
  wrong.head = oci::Digest::of(as_bytes("other"));
  expect_refused(wrong, boot.bytes, "its head does not match");
}

TEST_F(BootTest, IsRefusedWhenCutShortOrWithAnotherTable) {
  const std::vector<const Layer*> layers = {&data_, &upper_};
  const auto boot = build(layers);
  const auto artifact = manifest_of(layers, boot);

  expect_refused(artifact, Bytes(boot.bytes).first(boot.head_size - 1), "its head alone has");
  EXPECT_FALSE(artifact::open_boot(artifact, Bytes(boot.bytes).first(boot.bytes.size() - 1)));
  auto flipped = boot.bytes;
  flipped[boot.head_size + 100] ^= std::byte{1};
  EXPECT_EQ(artifact::open_boot(artifact, flipped).error().code, Code::kInvalid);
}

TEST_F(BootTest, IsRefusedWhenItsHeadContradictsTablesOrMetadata) {
  const std::vector<const Layer*> layers = {&data_, &upper_};
  const auto good = build(layers);
  const auto head = artifact::parse_head(Bytes(good.bytes).first(good.head_size)).value();

  auto boot = good;
  auto artifact = manifest_of(layers, boot);
  auto changed = head;
  changed.hot = {{.layer = 1, .chunk = 1}};
  replace_head(boot, artifact, changed);
  expect_refused(artifact, boot.bytes, "hot chunk 1 of layer 1 does not exist");

  boot = good;
  changed = head;
  changed.layers[0].device_blocks += 1;
  replace_head(boot, artifact, changed);
  expect_refused(artifact, boot.bytes, "the table of layer 0 is of another blob");

  boot = good;
  changed = head;
  erofs::Tree tree;
  tree.inodes.emplace_back().mode = S_IFDIR | 0755;
  changed.image = erofs::write_image(tree).value();
  replace_head(boot, artifact, changed);
  expect_refused(artifact, boot.bytes, "metadata with 0 devices for 2 layers");

  boot = good;
  tree.devices = {{.blocks = 1, .tag = ""}, {.blocks = 1, .tag = ""}};
  changed.image = erofs::write_image(tree).value();
  replace_head(boot, artifact, changed);
  expect_refused(artifact, boot.bytes, "device 1 has 1 blocks in the metadata");
}

}  // namespace
}  // namespace runnel::convert
