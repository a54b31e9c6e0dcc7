// The loops that conversions, reads and requests spend their time in, each by itself (Google
// Benchmark): runnel-hot-loops --benchmark_filter=Sha256
//
// Inputs are made here and are alike in every run; bytes a second are of plain bytes.
#include <benchmark/benchmark.h>
#include <zlib.h>

#include <cstdint>
#include <random>
#include <string>

#include "artifact/chunk_table.h"
#include "base/error.h"
#include "codec/layer_decoder.h"
#include "codec/sha256.h"
#include "codec/zstd.h"
#include "erofs/validator.h"
#include "erofs/writer.h"
#include "net/request_parser.h"
#include "support/tar_builder.h"
#include "tar/reader.h"

namespace runnel {
namespace {

// Words, so that it compresses about as files do.
Buffer text(size_t size) {
  std::minstd_rand random(1);  // NOLINT(bugprone-random-generator-seed)
  std::string words;
  while (words.size() < size) words += std::to_string(random() % 5000) + " ";
  const auto bytes = as_bytes(words).first(size);
  return {bytes.begin(), bytes.end()};
}

Buffer gzipped(Bytes plain) {
  z_stream stream{};
  RUNNEL_CHECK(deflateInit2(&stream, 6, Z_DEFLATED, 31, 8, Z_DEFAULT_STRATEGY) == Z_OK);
  Buffer out(deflateBound(&stream, plain.size()));
  Buffer in(plain.begin(), plain.end());
  stream.next_in = reinterpret_cast<Bytef*>(in.data());
  stream.avail_in = static_cast<uInt>(in.size());
  stream.next_out = reinterpret_cast<Bytef*>(out.data());
  stream.avail_out = static_cast<uInt>(out.size());
  RUNNEL_CHECK(deflate(&stream, Z_FINISH) == Z_STREAM_END);
  out.resize(stream.total_out);
  deflateEnd(&stream);
  return out;
}

void count_bytes(benchmark::State& state, uint64_t each) {
  state.SetBytesProcessed(static_cast<int64_t>(state.iterations() * each));
}

void Inflate(benchmark::State& state) {
  constexpr size_t kSize = 4 << 20;
  const Buffer packed = gzipped(text(kSize));
  for (auto _ : state) {
    const auto decoder = codec::LayerDecoder::make(codec::Compression::kGzip);
    uint64_t plain = 0;
    const auto fed = decoder->feed(packed, [&](Bytes piece) -> Result<void> {
      plain += piece.size();
      return {};
    });
    RUNNEL_CHECK(fed.has_value());
    RUNNEL_CHECK(plain == kSize);
  }
  count_bytes(state, kSize);
}
BENCHMARK(Inflate);

void UnpackChunk(benchmark::State& state) {
  const Buffer frame = codec::ZstdCompressor(3).compress(text(artifact::kChunkSize));
  codec::ZstdDecompressor decompressor;
  Buffer plain(artifact::kChunkSize);
  for (auto _ : state) RUNNEL_CHECK(decompressor.decompress(frame, plain));
  count_bytes(state, plain.size());
}
BENCHMARK(UnpackChunk);

void Sha256(benchmark::State& state) {
  const Buffer chunk = text(static_cast<size_t>(state.range(0)));
  for (auto _ : state) benchmark::DoNotOptimize(codec::sha256(chunk));
  count_bytes(state, chunk.size());
}
BENCHMARK(Sha256)->Arg(4096)->Arg(artifact::kChunkSize);

void ChunkLookup(benchmark::State& state) {
  artifact::ChunkTableWriter writer(artifact::kChunkSize);
  std::minstd_rand random(1);  // NOLINT(bugprone-random-generator-seed)
  for (int64_t i = 0; i < state.range(0); ++i)
    writer.add(1 + random() % 32, 1000, codec::sha256(as_bytes(std::to_string(i))));
  const auto written = writer.finish();
  const auto table = artifact::ChunkTable::parse(written.bytes, written.digest).value();
  for (auto _ : state) {
    benchmark::DoNotOptimize(table.at(table.find(random() % table.device_blocks())));
  }
}
BENCHMARK(ChunkLookup)->Arg(1000)->Arg(100'000);

struct Dropped final : tar::Handler {
  Result<void> entry(const tar::Entry&) override { return {}; }
  Result<void> data(uint64_t, Bytes) override { return {}; }
  Result<void> entry_end() override { return {}; }
};

void TarScan(benchmark::State& state) {
  test::TarBuilder builder;
  for (int i = 0; i < 1000; ++i) {
    builder.file("usr/lib/python3/dist-packages/package/module_" + std::to_string(i) + ".py",
                 std::string(3000, 'x'));
  }
  builder.end();
  for (auto _ : state) {
    Dropped handler;
    tar::Reader reader;
    RUNNEL_CHECK(reader.feed(builder.bytes(), handler));
    RUNNEL_CHECK(reader.finish());
  }
  count_bytes(state, builder.bytes().size());
  state.SetItemsProcessed(state.iterations() * 1000);
}
BENCHMARK(TarScan);

// Directories of a hundred files each.
erofs::Tree tree_of(uint32_t files) {
  erofs::Tree tree{.inodes = {{.mode = 040755}}, .devices = {{.blocks = files, .tag = "layer"}}};
  for (uint32_t file = 0; file < files; ++file) {
    if (file % 100 == 0) {
      const auto directory = static_cast<uint32_t>(tree.inodes.size());
      tree.inodes[0].entries.push_back({"directory-" + std::to_string(file), directory});
      tree.inodes.push_back({.mode = 040755});
    }
    const auto inode = static_cast<uint32_t>(tree.inodes.size());
    const uint32_t parent = inode - 1 - file % 100;
    tree.inodes[parent].entries.push_back({"file-" + std::to_string(file), inode});
    tree.inodes.push_back({.mode = 0100644,
                           .size = 4096,
                           .extents = {{.device_block = file, .blocks = 1, .device = 1}}});
  }
  return tree;
}

void ErofsBuild(benchmark::State& state) {
  const auto tree = tree_of(static_cast<uint32_t>(state.range(0)));
  for (auto _ : state) benchmark::DoNotOptimize(erofs::write_image(tree).value().size());
  state.SetItemsProcessed(state.iterations() * state.range(0));
}
BENCHMARK(ErofsBuild)->Arg(10'000)->Unit(benchmark::kMillisecond);

// What a node does with an image's metadata before it mounts it.
void ErofsValidate(benchmark::State& state) {
  const auto image = erofs::write_image(tree_of(static_cast<uint32_t>(state.range(0)))).value();
  for (auto _ : state) RUNNEL_CHECK(erofs::validate(image).has_value());
  count_bytes(state, image.size());
  state.SetItemsProcessed(state.iterations() * state.range(0));
}
BENCHMARK(ErofsValidate)->Arg(50'000)->Unit(benchmark::kMillisecond);

void HttpParse(benchmark::State& state) {
  const std::string head =
      "GET /v2/team/app/blobs/sha256:"
      "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef HTTP/1.1\r\n"
      "Host: registry.example:5000\r\nUser-Agent: containerd/1.6.20\r\n"
      "Accept: application/vnd.oci.image.manifest.v1+json\r\nRange: bytes=65536-131071\r\n"
      "Authorization: Bearer 0123456789abcdef\r\n\r\n";
  net::RequestParser parser(16 << 10);
  for (auto _ : state) {
    parser.reset();
    RUNNEL_CHECK(parser.feed_head(as_bytes(head)).done);
    net::Request request;
    RUNNEL_CHECK(!parser.take(request));
    benchmark::DoNotOptimize(request.path.size());
  }
  state.SetItemsProcessed(state.iterations());
}
BENCHMARK(HttpParse);

}  // namespace
}  // namespace runnel

BENCHMARK_MAIN();
