#include "codec/zstd.h"

#include <gtest/gtest.h>
#include <zstd.h>

#include <random>

namespace runnel::codec {
namespace {

// Text with repeats, so that it compresses, and different for each seed.
Buffer sample(size_t size, unsigned seed = 1) {
  std::mt19937 random(seed);
  Buffer bytes(size);
  for (auto& byte : bytes) byte = std::byte('a' + random() % 4);
  return bytes;
}

// A frame as a compressor in streaming mode makes it: without the content size in its header.
Buffer frame_without_size(Bytes input) {
  ZSTD_CCtx* context = ZSTD_createCCtx();
  ZSTD_CCtx_setParameter(context, ZSTD_c_contentSizeFlag, 0);
  Buffer out(ZSTD_compressBound(input.size()));
  out.resize(ZSTD_compress2(context, out.data(), out.size(), input.data(), input.size()));
  ZSTD_freeCCtx(context);
  return out;
}

TEST(Zstd, RoundTripsAllSizesAndLevels) {
  for (const int level : {-5, 1, 3, 19, 1000}) {
    ZstdCompressor compressor(level);
    ZstdDecompressor decompressor;
    for (const size_t size : {0, 1, 100, 4096, 131072, 1 << 20, 5 << 20}) {
      if (level > 3 && size > (1 << 20)) continue;
      const Buffer input = sample(size);

      const Buffer frame = compressor.compress(input);
      Buffer out(size);
      const auto outcome = decompressor.decompress(frame, out);

      ASSERT_TRUE(outcome) << outcome.error().message << " level " << level << " size " << size;
      EXPECT_EQ(out, input);
    }
  }
}

TEST(ZstdDecompressor, GivesTheSameContentInPieces) {
  ZstdDecompressor decompressor;
  for (const size_t size : {0, 1, 131072, 131073, 5 << 20}) {
    const Buffer input = sample(size);
    const Buffer frame = ZstdCompressor(3).compress(input);
    Buffer out;
    size_t most = 0;

    const auto outcome = decompressor.decompress(frame, size, [&](Bytes piece) -> Result<void> {
      most = std::max(most, piece.size());
      out.insert(out.end(), piece.begin(), piece.end());
      return {};
    });

    ASSERT_TRUE(outcome) << outcome.error().message << " size " << size;
    EXPECT_EQ(out, input);
    EXPECT_LE(most, 131072u);
  }
}

TEST(ZstdDecompressor, EndsWhenNobodyTakesThePieces) {
  const Buffer input = sample(5 << 20);
  const Buffer frame = ZstdCompressor(3).compress(input);
  ZstdDecompressor decompressor;
  int pieces = 0;

  const auto outcome = decompressor.decompress(frame, input.size(), [&](Bytes) -> Result<void> {
    ++pieces;
    return fail(Code::kExhausted, "full");
  });

  ASSERT_FALSE(outcome);
  EXPECT_EQ(outcome.error().code, Code::kExhausted);
  EXPECT_EQ(pieces, 1);
  Buffer out(input.size());
  EXPECT_TRUE(decompressor.decompress(frame, out)) << "it can be used again";
  EXPECT_EQ(out, input);
}

TEST(ZstdDecompressor, RefusesInPiecesWhatItRefusesAtOnce) {
  const Buffer input = sample(300'000);
  const Buffer frame = ZstdCompressor(3).compress(input);
  ZstdDecompressor decompressor;
  const auto ignore = [](Bytes) { return Result<void>(); };

  EXPECT_FALSE(decompressor.decompress(frame, input.size() - 1, ignore));
  EXPECT_FALSE(decompressor.decompress(Bytes(frame).first(frame.size() - 1), input.size(), ignore));
  EXPECT_FALSE(decompressor.decompress(frame_without_size(input), input.size(), ignore));
  Buffer flipped = frame;
  for (size_t at = 0; at < flipped.size(); at += 997) {
    flipped[at] ^= std::byte{0x55};
    Buffer out(input.size());
    const auto once = decompressor.decompress(flipped, out);
    Buffer pieces;
    const auto outcome =
        decompressor.decompress(flipped, input.size(), [&](Bytes piece) -> Result<void> {
          pieces.insert(pieces.end(), piece.begin(), piece.end());
          return {};
        });
    EXPECT_EQ(once.has_value(), outcome.has_value()) << at;
    if (once && outcome) EXPECT_EQ(pieces, out) << at;
    flipped[at] ^= std::byte{0x55};
  }
}

TEST(Zstd, GivesTheSameBytesWhateverWasCompressedBefore) {
  ZstdCompressor fresh(3);
  ZstdCompressor used(3);
  for (unsigned seed = 2; seed < 20; ++seed) used.compress(sample(seed * 10007, seed));

  EXPECT_EQ(fresh.compress(sample(131072)), used.compress(sample(131072)));
}

TEST(Zstd, StatesTheContentSizeAndHasNoChecksum) {
  const Buffer frame = ZstdCompressor(3).compress(sample(131072));

  EXPECT_EQ(ZSTD_getFrameContentSize(frame.data(), frame.size()), 131072u);
  EXPECT_EQ(std::to_integer<int>(frame[4]) & 4, 0);
}

TEST(ZstdDecompressor, RefusesEveryTruncation) {
  const Buffer frame = ZstdCompressor(3).compress(sample(1000));
  ZstdDecompressor decompressor;
  Buffer out(1000);

  for (size_t size = 0; size < frame.size(); ++size)
    EXPECT_FALSE(decompressor.decompress(Bytes(frame).first(size), out)) << size;
}

TEST(ZstdDecompressor, RefusesWhatFollowsTheFrame) {
  const Buffer frame = ZstdCompressor(3).compress(sample(1000));
  Buffer with_byte = frame;
  with_byte.push_back(std::byte{0});
  Buffer twice = ZstdCompressor(3).compress({});
  twice.insert(twice.end(), frame.begin(), frame.end());
  Buffer out(1000);

  EXPECT_FALSE(ZstdDecompressor().decompress(with_byte, out));
  EXPECT_FALSE(ZstdDecompressor().decompress(twice, out));
}

TEST(ZstdDecompressor, RefusesAnotherSizeThanExpected) {
  const Buffer frame = ZstdCompressor(3).compress(sample(1000));
  Buffer smaller(999);
  Buffer larger(1001);

  EXPECT_FALSE(ZstdDecompressor().decompress(frame, smaller));
  EXPECT_FALSE(ZstdDecompressor().decompress(frame, larger));
}

TEST(ZstdDecompressor, RefusesAFrameThatDoesNotStateItsSize) {
  Buffer out(1000);

  EXPECT_FALSE(ZstdDecompressor().decompress(frame_without_size(sample(1000)), out));
}

TEST(ZstdDecompressor, RefusesAWindowLargerThanTheContentNeeds) {
  // A header with a window of 2 KiB, the content size 1000 in two bytes (stored less 256), and one
  // raw block.
  Buffer frame(10 + 1000);
  store_le<uint32_t>(frame.data(), 0xfd2fb528);
  frame[4] = std::byte{0x40};
  frame[5] = std::byte{1 << 3};
  store_le<uint16_t>(frame.data() + 6, 1000 - 256);
  const uint32_t block = 1 | 1000 << 3;
  frame.resize(11 + 1000);
  frame[8] = std::byte(block & 0xff);
  frame[9] = std::byte(block >> 8 & 0xff);
  frame[10] = std::byte(block >> 16);
  Buffer out(1000);

  const auto with_2k_window = ZstdDecompressor().decompress(frame, out);
  frame[5] = std::byte{0};
  const auto with_1k_window = ZstdDecompressor().decompress(frame, out);

  ASSERT_FALSE(with_2k_window);
  EXPECT_NE(with_2k_window.error().message.find("window of 2048 bytes"), std::string::npos);
  EXPECT_TRUE(with_1k_window) << with_1k_window.error().message;
}

TEST(ZstdDecompressor, RefusesASkippableFrame) {
  const Buffer skippable = {std::byte{0x50}, std::byte{0x2a}, std::byte{0x4d}, std::byte{0x18},
                            std::byte{0},    std::byte{0},    std::byte{0},    std::byte{0}};

  EXPECT_FALSE(ZstdDecompressor().decompress(skippable, {}));
}

TEST(ZstdDecompressor, WorksOnAfterAFailure) {
  const Buffer frame = ZstdCompressor(3).compress(sample(1000));
  Buffer broken = frame;
  broken[broken.size() / 2] ^= std::byte{0xff};
  ZstdDecompressor decompressor;
  Buffer out(1000);

  (void)decompressor.decompress(broken, out);

  EXPECT_TRUE(decompressor.decompress(frame, out));
  EXPECT_EQ(out, sample(1000));
}

}  // namespace
}  // namespace runnel::codec
