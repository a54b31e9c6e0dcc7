#include "convert/layer_converter.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/stat.h>

#include <algorithm>

#include "artifact/chunk_table.h"
#include "base/fd.h"
#include "codec/zstd.h"
#include "convert/boot_builder.h"
#include "erofs/validator.h"
#include "support/tar_builder.h"
#include "support/temp_dir.h"

namespace runnel::convert {
namespace {

std::string noise(size_t size, uint32_t seed) {
  std::string out(size, '\0');
  for (auto& c : out) {
    seed = seed * 1664525 + 1013904223;
    c = static_cast<char>(seed >> 24);
  }
  return out;
}

Buffer sample_tar() {
  test::TarBuilder tar;
  tar.directory("etc/").file("etc/hosts", "127.0.0.1 localhost\n").symlink("lib", "usr/lib");
  tar.file("big", noise(300'000, 1)).file("empty", "").hard_link("again", "big");
  return tar.end().bytes();
}

class LayerConverterTest : public testing::Test {
 protected:
  UniqueFd empty_file() {
    return open_file(dir_.path() + "/" + std::to_string(files_++), O_RDWR | O_CREAT).value();
  }

  Result<LayerConverter::Converted> convert(int fd, Bytes layer, const oci::Digest& diff_id,
                                            size_t piece = 100'000) {
    LayerConverter converter(fd, pool_, diff_id);
    while (!layer.empty()) {
      const auto part = layer.first(std::min(piece, layer.size()));
      RUNNEL_DO(converter.feed(part));
      layer = layer.subspan(part.size());
    }
    return converter.finish();
  }

  test::TempDir dir_;
  int files_ = 0;
  WorkerPool pool_{2};
};

TEST_F(LayerConverterTest, MakesABlobWhoseChunksHoldTheFiles) {
  const auto tar = sample_tar();
  const auto fd = empty_file();

  const auto converted = convert(fd.get(), tar, oci::Digest::of(tar));

  ASSERT_TRUE(converted) << converted.error().message;
  const auto& blob = converted->blob;
  Buffer bytes(blob.size);
  ASSERT_TRUE(read_exact_at(fd.get(), bytes, 0));
  EXPECT_EQ(codec::sha256(bytes), blob.digest);
  const auto parts =
      artifact::parse_layer_footer(Bytes(bytes).last(artifact::kLayerFooterSize), blob.size);
  ASSERT_TRUE(parts) << parts.error().message;
  EXPECT_EQ(*parts, blob.parts);
  const Bytes table_bytes = Bytes(bytes).subspan(parts->table_offset, parts->table_size);
  const auto table = artifact::ChunkTable::parse(Buffer(table_bytes.begin(), table_bytes.end()),
                                                 parts->table_digest);
  ASSERT_TRUE(table) << table.error().message;

  Buffer device(table->device_size());
  for (uint32_t i = 0; i < table->size(); ++i) {
    const auto chunk = table->at(i);
    const auto out = MutableBytes(device).subspan(chunk.device_offset(), chunk.size());
    ASSERT_TRUE(codec::ZstdDecompressor().decompress(
        Bytes(bytes).subspan(chunk.blob_offset, chunk.stored_size), out));
    EXPECT_EQ(codec::sha256(out), chunk.digest);
  }
  const auto tree = artifact::open_layer_tree(
      Bytes(bytes).subspan(parts->tree_offset, parts->tree_stored), *parts, table->device_blocks());
  ASSERT_TRUE(tree) << tree.error().message;
  const auto& root = tree->inodes[0].entries;
  const auto big = std::ranges::find(root, "big", &erofs::DirEntry::name);
  ASSERT_NE(big, root.end());
  const auto& extent = tree->inodes[big->inode].extents.at(0);
  EXPECT_EQ(as_text(Bytes(device).subspan(extent.device_block * 4096, 300'000)), noise(300'000, 1));
}

TEST_F(LayerConverterTest, GivesTheSameBitsHoweverTheLayerIsCutOrCompressed) {
  const auto tar = sample_tar();
  const auto zstd = codec::ZstdCompressor(19).compress(tar);

  const auto whole = convert(empty_file().get(), tar, oci::Digest::of(tar));
  const auto pieces = convert(empty_file().get(), tar, oci::Digest::of(tar), 1);
  const auto compressed = convert(empty_file().get(), zstd, oci::Digest::of(tar));

  ASSERT_TRUE(whole && pieces && compressed);
  EXPECT_EQ(whole->blob.digest, pieces->blob.digest);
  EXPECT_EQ(whole->blob.digest, compressed->blob.digest);
}

TEST_F(LayerConverterTest, RefusesALayerThatIsNotWhatTheImageSays) {
  const auto tar = sample_tar();
  const auto converted = convert(empty_file().get(), tar, oci::Digest::of(as_bytes("other")));

  ASSERT_FALSE(converted);
  EXPECT_NE(converted.error().message.find("configuration says"), std::string::npos);
}

TEST_F(LayerConverterTest, RefusesATruncatedLayer) {
  const auto tar = sample_tar();
  const auto zstd = codec::ZstdCompressor(3).compress(tar);

  EXPECT_FALSE(convert(empty_file().get(), Bytes(tar).first(2000), oci::Digest::of(tar)));
  EXPECT_FALSE(
      convert(empty_file().get(), Bytes(zstd).first(zstd.size() - 1), oci::Digest::of(tar)));
}

TEST_F(LayerConverterTest, TakesALayerWithoutAnything) {
  const auto tar = test::TarBuilder().end().bytes();

  const auto converted = convert(empty_file().get(), tar, oci::Digest::of(tar));

  ASSERT_TRUE(converted) << converted.error().message;
  EXPECT_EQ(converted->blob.device_blocks, 0u);
}

TEST_F(LayerConverterTest, BuildsABootBlobThatReadersAccept) {
  const auto lower_tar = sample_tar();
  const auto upper_tar =
      test::TarBuilder().file("etc/motd", "hi").file(".wh.lib", "").end().bytes();
  LayerFile lower{.file = std::make_shared<UniqueFd>(empty_file()), .blob = {}};
  LayerFile upper{.file = std::make_shared<UniqueFd>(empty_file()), .blob = {}};
  auto first = convert(lower.file->get(), lower_tar, oci::Digest::of(lower_tar)).value();
  auto second = convert(upper.file->get(), upper_tar, oci::Digest::of(upper_tar)).value();
  lower.blob = first.blob;
  upper.blob = second.blob;
  std::vector<artifact::LayerTree> trees;
  trees.push_back(std::move(first.tree));
  trees.push_back(std::move(second.tree));

  const auto boot = build_boot_blob({&lower, &upper}, std::move(trees),
                                    {.generation = 3, .files = {"/big", "/absent"}});

  ASSERT_TRUE(boot) << boot.error().message;
  const auto head = artifact::parse_head(Bytes(boot->bytes).first(boot->head_size));
  ASSERT_TRUE(head) << head.error().message;
  EXPECT_EQ(head->generation, 3u);
  EXPECT_EQ(head->layers.at(1).slot, 2);
  EXPECT_EQ(head->hot.size(), 3u);
  EXPECT_EQ(boot->bytes.size() - boot->head_size - head->tables_size(), [&] {
    const auto bytes =
        Bytes(boot->bytes).subspan(boot->head_size, head->layers[0].parts.table_size);
    const auto table = artifact::ChunkTable::parse(Buffer(bytes.begin(), bytes.end()),
                                                   head->layers[0].parts.table_digest)
                           .value();
    uint64_t size = 0;
    for (const auto& hot : head->hot) size += table.at(hot.chunk).stored_size;
    return size;
  }());
  const auto summary = erofs::validate(head->image);
  ASSERT_TRUE(summary) << summary.error().message;
  EXPECT_EQ(summary->devices.size(), 2u);
}

}  // namespace
}  // namespace runnel::convert
