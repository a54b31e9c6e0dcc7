#include "artifact/layer_blob.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/stat.h>

#include "base/fd.h"
#include "support/temp_dir.h"

namespace runnel::artifact {
namespace {

LayerTree tree_of_a_root() {
  LayerTree tree;
  tree.inodes.emplace_back().mode = S_IFDIR | 0755;
  tree.flags.push_back(0);
  return tree;
}

class LayerBlobTest : public testing::Test {
 protected:
  LayerBlobTest() {
    const auto fd = open_file(dir_.path() + "/blob", O_RDWR | O_CREAT).value();
    LayerBlobWriter writer(fd.get(), pool_);
    EXPECT_TRUE(writer.add_chunk(Buffer(kBlockSize, std::byte{1})));
    EXPECT_TRUE(writer.add_chunk(Buffer(2 * kBlockSize, std::byte{2})));
    written_ = writer.finish(tree_of_a_root()).value();
    blob_.resize(written_.size);
    EXPECT_TRUE(read_exact_at(fd.get(), blob_, 0));
  }

  Buffer footer() const {
    const auto bytes = Bytes(blob_).last(kLayerFooterSize);
    return {bytes.begin(), bytes.end()};
  }

  test::TempDir dir_;
  WorkerPool pool_{2};
  LayerBlobWriter::Written written_;
  Buffer blob_;
};

TEST_F(LayerBlobTest, ReadsBackFooterTreeAndTable) {
  const auto parts = parse_layer_footer(footer(), blob_.size());
  ASSERT_TRUE(parts) << parts.error().message;
  EXPECT_EQ(*parts, written_.parts);
  EXPECT_EQ(codec::sha256(blob_), written_.digest);

  const auto frame = Bytes(blob_).subspan(parts->tree_offset, parts->tree_stored);
  const auto tree = open_layer_tree(frame, *parts, written_.device_blocks);
  ASSERT_TRUE(tree) << tree.error().message;
  EXPECT_EQ(tree->inodes.size(), 1u);

  const auto table = Bytes(blob_).subspan(parts->table_offset, parts->table_size);
  const auto chunks = ChunkTable::parse(Buffer(table.begin(), table.end()), parts->table_digest);
  ASSERT_TRUE(chunks) << chunks.error().message;
  EXPECT_EQ(chunks->size(), 2u);
  EXPECT_EQ(chunks->device_blocks(), 3u);
}

TEST_F(LayerBlobTest, WritesTheSameToASink) {
  struct Collected final : BlobSink {
    explicit Collected(Buffer& into) : bytes(into) {}
    Result<void> append(Bytes more) override {
      bytes.insert(bytes.end(), more.begin(), more.end());
      return {};
    }
    codec::Sha256Value digest() override { return codec::sha256(bytes); }
    Buffer& bytes;
  };
  Buffer bytes;
  LayerBlobWriter writer(std::make_unique<Collected>(bytes), pool_);
  ASSERT_TRUE(writer.add_chunk(Buffer(kBlockSize, std::byte{1})));
  ASSERT_TRUE(writer.add_chunk(Buffer(2 * kBlockSize, std::byte{2})));

  const auto written = writer.finish(tree_of_a_root()).value();

  EXPECT_EQ(bytes, blob_);
  EXPECT_EQ(written.digest, written_.digest);
  EXPECT_EQ(written.size, written_.size);
}

TEST_F(LayerBlobTest, RefusesAnotherVersionAndARequiredFeatureAsUnsupported) {
  for (const size_t at : {8, 16, 23}) {
    auto bytes = footer();
    bytes[at] ^= std::byte{0x80};
    EXPECT_EQ(parse_layer_footer(bytes, blob_.size()).error().code, Code::kUnsupported) << at;
  }
}

TEST_F(LayerBlobTest, RefusesAFooterOfAnotherSizeOrMagicOrCutShort) {
  for (const size_t at : {0, 12}) {
    auto bytes = footer();
    bytes[at] ^= std::byte{1};
    EXPECT_EQ(parse_layer_footer(bytes, blob_.size()).error().code, Code::kInvalid) << at;
  }
  for (size_t size = 0; size < 136; ++size) {
    EXPECT_FALSE(parse_layer_footer(Bytes(footer()).first(size), blob_.size())) << size;
  }
}

TEST_F(LayerBlobTest, RefusesPartsThatDoNotFillTheBlob) {
  for (const uint64_t size : {uint64_t{0}, uint64_t{159}, written_.size - 1, written_.size + 1,
                              kMaxBlobSize + 1, UINT64_MAX}) {
    EXPECT_EQ(parse_layer_footer(footer(), size).error().code, Code::kInvalid) << size;
  }
  for (const size_t at : {32, 40, 88, 96}) {  // offsets and sizes of tree and table
    auto bytes = footer();
    bytes[at] ^= std::byte{1};
    EXPECT_EQ(parse_layer_footer(bytes, blob_.size()).error().code, Code::kInvalid) << at;
  }
}

TEST_F(LayerBlobTest, RefusesATreeThatIsNotTheFootersOne) {
  const auto frame = Bytes(blob_).subspan(written_.parts.tree_offset, written_.parts.tree_stored);
  auto parts = written_.parts;
  parts.tree_digest[0] ^= std::byte{1};
  EXPECT_EQ(open_layer_tree(frame, parts, 3).error().code, Code::kInvalid);

  parts = written_.parts;
  parts.tree_size += 1;
  EXPECT_FALSE(open_layer_tree(frame, parts, 3));

  parts.tree_size = TreeLimits{}.max_bytes + 1;
  EXPECT_EQ(open_layer_tree(frame, parts, 3).error().code, Code::kExhausted);
}

}  // namespace
}  // namespace runnel::artifact
