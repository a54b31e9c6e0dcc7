#include "artifact/chunk_restorer.h"

#include <gtest/gtest.h>

#include <algorithm>

#include "artifact/tree_builder.h"
#include "codec/zstd.h"
#include "support/tar_builder.h"

namespace runnel::artifact {
namespace {

std::string noise(size_t size, uint32_t seed) {
  std::string out(size, '\0');
  for (auto& c : out) {
    seed = seed * 1664525 + 1013904223;
    c = static_cast<char>(seed >> 24);
  }
  return out;
}

// Files of every kind that matters to the layout, and entries that have content but no place on the
// device.
Buffer sample_tar() {
  test::TarBuilder tar;
  tar.directory("etc/").file("etc/hosts", "127.0.0.1 localhost\n").symlink("lib", "usr/lib");
  tar.file("big", noise(300'000, 1)).file("empty", "").hard_link("again", "big");
  tar.file("etc/.wh.old", "a marker may have content").file("etc/.wh..wh..opq", "this one too");
  tar.file("etc/../", "the root").file("etc/hosts", "written a second time\n");
  for (int i = 0; i < 40; ++i) tar.file("small/" + std::to_string(i), noise(7'000, 100 + i));
  tar.pax({{"GNU.sparse.major", "1"},
           {"GNU.sparse.minor", "0"},
           {"GNU.sparse.name", "holes"},
           {"GNU.sparse.realsize", "1000000"}});
  std::string map = "2\n0\n5000\n600000\n70000\n";
  map.resize(512);
  tar.file("GNUSparseFile.0/holes", map + noise(75'000, 7));
  tar.file("edge", noise(32 * 1024, 3)).file("last", noise(4096, 4));
  return tar.end().bytes();
}

// What a converter with these parameters would have written of a layer.
struct Laid {
  Buffer device;
  ChunkTable table;
};

class Converter : public tar::Handler {
 public:
  explicit Converter(uint32_t chunk_size)
      : chunker_(chunk_size,
                 [this](const Buffer& chunk) -> Result<void> {
                   device_.insert(device_.end(), chunk.begin(), chunk.end());
                   writer_.add(static_cast<uint32_t>(chunk.size() / kBlockSize), 100,
                               codec::sha256(chunk));
                   return {};
                 }),
        writer_(chunk_size) {}

  Laid convert(Bytes tar) {
    tar::Reader reader;
    EXPECT_TRUE(reader.feed(tar, *this));
    EXPECT_TRUE(reader.finish());
    EXPECT_TRUE(chunker_.finish());
    const auto table = writer_.finish();
    return {device_, ChunkTable::parse(table.bytes, table.digest).value()};
  }

 private:
  Result<void> entry(const tar::Entry& entry) override {
    RUNNEL_TRY(file_, tree_.add(entry));
    EXPECT_EQ(lies_on_device(entry), file_.has_value()) << entry.name;
    return file_ ? begin_file(chunker_, entry) : Result<void>();
  }
  Result<void> data(uint64_t offset, Bytes bytes) override {
    return file_ ? chunker_.write(offset, bytes) : Result<void>();
  }
  Result<void> entry_end() override {
    if (file_) RUNNEL_DO(chunker_.end_file());
    return {};
  }

  TreeBuilder tree_;
  Chunker chunker_;
  ChunkTableWriter writer_;
  std::optional<uint32_t> file_;
  Buffer device_;
};

class Restored {
 public:
  explicit Restored(const ChunkTable& table) : table_(table), device(table.device_size()) {}

  Result<void> run(Bytes layer, const oci::Digest& diff_id, size_t piece = 10'000) {
    ChunkRestorer restorer(table_, diff_id, [this](uint32_t chunk, const Buffer& plain) {
      EXPECT_EQ(chunk, chunks++);
      std::ranges::copy(plain, device.begin() + table_.at(chunk).device_offset());
      return refusal;
    });
    while (!layer.empty()) {
      const auto part = layer.first(std::min(piece, layer.size()));
      RUNNEL_DO(restorer.feed(part));
      layer = layer.subspan(part.size());
    }
    return restorer.finish();
  }

 private:
  const ChunkTable& table_;

 public:
  Buffer device;
  uint32_t chunks = 0;
  Result<void> refusal;
};

TEST(ChunkRestorer, MakesTheChunksOfEveryCutOfTheSameLayer) {
  const auto tar = sample_tar();
  for (const uint32_t chunk_size : {4096u, 20'480u, 65'536u, kChunkSize, kMaxChunkSize}) {
    const auto laid = Converter(chunk_size).convert(tar);
    ASSERT_GT(laid.table.size(), 1u);
    Restored restored(laid.table);

    const auto done = restored.run(tar, oci::Digest::of(tar));

    ASSERT_TRUE(done) << chunk_size << ": " << done.error().message;
    EXPECT_EQ(restored.device, laid.device) << chunk_size;
    EXPECT_EQ(restored.chunks, laid.table.size());
  }
}

TEST(ChunkRestorer, TakesALayerInPiecesOfAnySizeAndCompressed) {
  const auto tar = sample_tar();
  const auto laid = Converter(kChunkSize).convert(tar);
  const auto frame = codec::ZstdCompressor(3).compress(tar);
  for (const auto& [layer, piece] :
       {std::pair<Bytes, size_t>{tar, 1}, {tar, 1 << 20}, {frame, 3}}) {
    Restored restored(laid.table);

    ASSERT_TRUE(restored.run(layer, oci::Digest::of(tar), piece));

    EXPECT_EQ(restored.device, laid.device);
  }
}

TEST(ChunkRestorer, StopsAtTheFirstChunkThatDiffers) {
  const auto tar = sample_tar();
  const auto laid = Converter(kChunkSize).convert(tar);
  auto flipped = tar;
  const auto at = std::ranges::search(flipped, as_bytes(noise(300'000, 1))).begin() + 200'000;
  *at ^= std::byte{1};
  Restored restored(laid.table);

  const auto done = restored.run(flipped, oci::Digest::of(tar));

  ASSERT_FALSE(done);
  EXPECT_EQ(done.error().code, Code::kInvalid);
  EXPECT_EQ(done.error().message, "chunk 2 made from it is not what the chunk table says");
  EXPECT_EQ(restored.chunks, 2u);
}

TEST(ChunkRestorer, RefusesALayerThatIsShorterOrLongerThanItsTable) {
  const auto tar = sample_tar();
  const auto laid = Converter(kChunkSize).convert(tar);
  const auto shorter = test::TarBuilder().file("etc/hosts", "127.0.0.1 localhost\n").end().bytes();
  auto longer = Bytes(tar).first(tar.size() - 1024);
  Buffer more(longer.begin(), longer.end());
  const auto extra = test::TarBuilder().file("more", noise(4096, 9)).end().bytes();
  more.insert(more.end(), extra.begin(), extra.end());

  const auto few = Restored(laid.table).run(shorter, oci::Digest::of(shorter));
  const auto many = Restored(laid.table).run(more, oci::Digest::of(more));
  const auto cut = Restored(laid.table).run(Bytes(tar).first(tar.size() / 2), oci::Digest::of(tar));

  for (const auto& done : {few, many, cut}) {
    ASSERT_FALSE(done);
    EXPECT_EQ(done.error().code, Code::kInvalid);
  }
}

TEST(ChunkRestorer, HoldsTheLayerToItsDiffId) {
  const auto tar = sample_tar();
  const auto laid = Converter(kChunkSize).convert(tar);

  const auto done = Restored(laid.table).run(tar, oci::Digest::of(as_bytes("another")));

  ASSERT_FALSE(done);
  EXPECT_NE(done.error().message.find("the image's configuration says"), std::string::npos);
}

TEST(ChunkRestorer, EndsWithTheErrorOfItsSink) {
  const auto tar = sample_tar();
  const auto laid = Converter(kChunkSize).convert(tar);
  Restored restored(laid.table);
  restored.refusal = fail(Code::kCancelled, "enough");

  const auto done = restored.run(tar, oci::Digest::of(tar));

  ASSERT_FALSE(done);
  EXPECT_EQ(done.error(), Error(Code::kCancelled, "enough"));
  EXPECT_EQ(restored.chunks, 1u);
}

}  // namespace
}  // namespace runnel::artifact
