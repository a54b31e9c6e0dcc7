#include "codec/layer_decoder.h"

#include <gtest/gtest.h>
#include <isa-l.h>
#include <zstd.h>

#include <algorithm>
#include <random>

#include "codec/zstd.h"

namespace runnel::codec {
namespace {

Buffer sample(size_t size, unsigned seed = 1) {
  std::mt19937 random(seed);
  Buffer bytes(size);
  for (auto& byte : bytes) byte = std::byte('a' + random() % 4);
  return bytes;
}

Buffer operator+(Buffer a, const Buffer& b) {
  a.insert(a.end(), b.begin(), b.end());
  return a;
}

// Raw deflate data of `input`.
Buffer deflate(Bytes input) {
  Buffer out(input.size() + 1024);
  isal_zstream stream;
  isal_deflate_stateless_init(&stream);
  stream.end_of_stream = 1;
  stream.flush = NO_FLUSH;
  stream.next_in = reinterpret_cast<uint8_t*>(const_cast<std::byte*>(input.data()));
  stream.avail_in = static_cast<uint32_t>(input.size());
  stream.next_out = reinterpret_cast<uint8_t*>(out.data());
  stream.avail_out = static_cast<uint32_t>(out.size());
  EXPECT_EQ(isal_deflate_stateless(&stream), COMP_OK);
  out.resize(stream.total_out);
  return out;
}

uint32_t crc32(Bytes input) {
  return crc32_gzip_refl(0, reinterpret_cast<const uint8_t*>(input.data()), input.size());
}

// A member with the header flags given, and every optional field that they ask for.
Buffer gzip(Bytes input, uint8_t flags = 0) {
  ByteWriter member;
  for (const int byte : {0x1f, 0x8b, 8, int{flags}, 1, 2, 3, 4, 0, 255})
    member.u8(static_cast<uint8_t>(byte));
  if ((flags & 4) != 0) {
    member.u16(300);
    member.bytes(sample(300));
  }
  if ((flags & 8) != 0) member.bytes(as_bytes(std::string_view("name\0", 5)));
  if ((flags & 16) != 0) member.bytes(as_bytes(std::string_view("comment\0", 8)));
  if ((flags & 2) != 0) member.u16(static_cast<uint16_t>(crc32(member.view())));
  member.bytes(deflate(input));
  member.u32(crc32(input));
  member.u32(static_cast<uint32_t>(input.size()));
  return member.take();
}

Buffer zstd(Bytes input) {
  return ZstdCompressor(3).compress(input);
}

// Feeds `blob` in pieces of `piece` bytes and returns all output.
Result<Buffer> decode(Compression compression, Bytes blob, size_t piece = SIZE_MAX) {
  auto decoder = LayerDecoder::make(compression);
  Buffer out;
  const auto sink = [&](Bytes bytes) -> Result<void> {
    EXPECT_FALSE(bytes.empty());
    out.insert(out.end(), bytes.begin(), bytes.end());
    return {};
  };
  while (!blob.empty()) {
    const size_t size = std::min(piece, blob.size());
    RUNNEL_DO(decoder->feed(blob.first(size), sink));
    blob = blob.subspan(size);
  }
  RUNNEL_DO(decoder->finish());
  return out;
}

TEST(CompressionOf, KnowsTheLayerTypesOfOciAndDocker) {
  const auto is = [](std::string_view type, Compression compression) {
    return compression_of(type).value() == compression;
  };

  EXPECT_TRUE(is("application/vnd.oci.image.layer.v1.tar", Compression::kNone));
  EXPECT_TRUE(is("application/vnd.oci.image.layer.v1.tar+gzip", Compression::kGzip));
  EXPECT_TRUE(is("application/vnd.oci.image.layer.v1.tar+zstd", Compression::kZstd));
  EXPECT_TRUE(
      is("application/vnd.oci.image.layer.nondistributable.v1.tar+gzip", Compression::kGzip));
  EXPECT_TRUE(is("application/vnd.docker.image.rootfs.diff.tar.gzip", Compression::kGzip));
  EXPECT_TRUE(is("application/vnd.docker.image.rootfs.foreign.diff.tar.gzip", Compression::kGzip));
}

TEST(CompressionOf, DoesNotGuessOtherTypes) {
  for (const char* type : {"", "application/vnd.oci.image.layer.v1.tar+xz",
                           "application/vnd.oci.image.config.v1+json", "application/gzip"}) {
    const auto compression = compression_of(type);

    ASSERT_FALSE(compression) << type;
    EXPECT_EQ(compression.error().code, Code::kUnsupported);
  }
}

// It is whatever a registry wrote, and messages end in logs and on terminals.
TEST(CompressionOf, QuotesWhatItDoesNotKnow) {
  EXPECT_EQ(compression_of("\x1b]0;a").error().message,
            R"(media type "\x1b]0;a" is not an image layer that can be read)");
}

TEST(DetectCompression, GoesByTheFirstBytes) {
  const Buffer skippable = {std::byte{0x5e}, std::byte{0x2a}, std::byte{0x4d}, std::byte{0x18}};

  EXPECT_EQ(detect_compression(gzip(sample(10))), Compression::kGzip);
  EXPECT_EQ(detect_compression(zstd(sample(10))), Compression::kZstd);
  EXPECT_EQ(detect_compression(skippable), Compression::kZstd);
  EXPECT_EQ(detect_compression(sample(512)), Compression::kNone);
  EXPECT_EQ(detect_compression({}), Compression::kNone);
}

class EachCompression : public testing::TestWithParam<Compression> {
 protected:
  static Buffer compress(Bytes input) {
    switch (GetParam()) {
      case Compression::kNone: return Buffer(input.begin(), input.end());
      case Compression::kGzip: return gzip(input);
      case Compression::kZstd: return zstd(input);
    }
    return {};
  }
};
INSTANTIATE_TEST_SUITE_P(LayerDecoder, EachCompression,
                         testing::Values(Compression::kNone, Compression::kGzip,
                                         Compression::kZstd),
                         [](const auto& tested) { return to_string(tested.param); });

TEST_P(EachCompression, GivesBackWhatWasCompressed) {
  for (const size_t size : {1, 512, 100'000, 3'000'000}) {
    const Buffer input = sample(size);

    EXPECT_EQ(decode(GetParam(), compress(input)).value(), input);
  }
}

TEST_P(EachCompression, DoesNotCareHowTheInputIsCut) {
  const Buffer input = sample(2000);
  const Buffer blob = compress(input) + compress(sample(700, 2)) + compress(sample(1, 3));
  const Buffer all = input + sample(700, 2) + sample(1, 3);

  for (size_t piece = 1; piece <= blob.size(); ++piece) {
    const auto out = decode(GetParam(), blob, piece);

    ASSERT_TRUE(out) << out.error().message << ", pieces of " << piece;
    ASSERT_EQ(*out, all) << piece;
  }
}

TEST_P(EachCompression, HandsOnTheSinksError) {
  auto decoder = LayerDecoder::make(GetParam());
  const auto sink = [](Bytes) -> Result<void> { return fail(Code::kCancelled, "enough"); };

  const auto first = decoder->feed(compress(sample(1'000'000)), sink);
  const auto second = decoder->feed(sample(1), [](Bytes) -> Result<void> { return {}; });

  ASSERT_FALSE(first);
  EXPECT_EQ(first.error(), Error(Code::kCancelled, "enough"));
  EXPECT_EQ(second, first);
  EXPECT_EQ(decoder->finish(), first);
}

class EachRealCompression : public EachCompression {};
INSTANTIATE_TEST_SUITE_P(LayerDecoder, EachRealCompression,
                         testing::Values(Compression::kGzip, Compression::kZstd),
                         [](const auto& tested) { return to_string(tested.param); });

TEST_P(EachRealCompression, RefusesEveryTruncation) {
  const Buffer first = compress(sample(500));
  const Buffer blob = first + compress(sample(500, 2));

  for (size_t size = 0; size < blob.size(); ++size) {
    const auto out = decode(GetParam(), Bytes(blob).first(size), 7);

    // A cut between two members leaves a shorter blob that is whole in itself.
    if (size == first.size()) {
      EXPECT_TRUE(out);
    } else {
      ASSERT_FALSE(out) << size;
      EXPECT_EQ(out.error().code, Code::kInvalid);
    }
  }
}

TEST_P(EachRealCompression, RefusesGarbageAfterTheData) {
  const auto out = decode(GetParam(), compress(sample(500)) + sample(20));

  ASSERT_FALSE(out);
  EXPECT_EQ(out.error().code, Code::kInvalid);
}

TEST_P(EachRealCompression, RefusesWhatIsNotCompressedAtAll) {
  EXPECT_FALSE(decode(GetParam(), sample(5000)));
}

TEST_P(EachRealCompression, KeepsItsBuffersSmallWhateverTheRatio) {
  const Buffer zeros(200 << 20);
  const Buffer blob = compress(zeros);
  ASSERT_LT(blob.size(), zeros.size() / 100);
  auto decoder = LayerDecoder::make(GetParam());
  uint64_t total = 0;
  size_t largest = 0;

  const auto sink = [&](Bytes bytes) -> Result<void> {
    total += bytes.size();
    largest = std::max(largest, bytes.size());
    return {};
  };
  ASSERT_TRUE(decoder->feed(blob, sink));
  ASSERT_TRUE(decoder->finish());

  EXPECT_EQ(total, zeros.size());
  EXPECT_LE(largest, 256u << 10);
}

// A member of blocks that are stored as they are (RFC 1951, 3.2.4).
Buffer stored(Bytes input) {
  ByteWriter member;
  for (const int byte : {0x1f, 0x8b, 8, 0, 1, 2, 3, 4, 0, 255})
    member.u8(static_cast<uint8_t>(byte));
  for (Bytes left = input; !left.empty();) {
    const auto block = left.first(std::min<size_t>(left.size(), 0xffff));
    left = left.subspan(block.size());
    member.u8(left.empty() ? 1 : 0);
    member.u16(static_cast<uint16_t>(block.size()));
    member.u16(static_cast<uint16_t>(~block.size()));
    member.bytes(block);
  }
  member.u32(crc32(input));
  member.u32(static_cast<uint32_t>(input.size()));
  return member.take();
}

TEST(GzipDecoder, DoesNotCareWhetherAPieceFillsTheOutputExactly) {
  constexpr size_t kOutput = 256 * 1024;
  const Buffer input = sample(kOutput + 1000);
  const Buffer blob = stored(input);
  bool filled = false;

  for (size_t piece = kOutput; piece < kOutput + 64; ++piece) {
    size_t last = 0;
    auto decoder = LayerDecoder::make(Compression::kGzip);
    Buffer out;
    const auto sink = [&](Bytes bytes) -> Result<void> {
      last = bytes.size();
      out.insert(out.end(), bytes.begin(), bytes.end());
      return {};
    };
    const auto fed = decoder->feed(Bytes(blob).first(piece), sink);
    ASSERT_TRUE(fed) << fed.error().message << ", a piece of " << piece;
    filled |= last == kOutput && out.size() == kOutput;
    ASSERT_TRUE(decoder->feed(Bytes(blob).subspan(piece), sink)) << piece;
    ASSERT_TRUE(decoder->finish()) << piece;
    ASSERT_EQ(out, input) << piece;
  }

  EXPECT_TRUE(filled) << "or it tried nothing";
}

TEST(GzipDecoder, ReadsEveryOptionalHeaderFieldHoweverCut) {
  const Buffer input = sample(100);
  for (uint8_t flags = 0; flags < 32; ++flags) {
    const Buffer blob = gzip(input, flags);
    for (const size_t piece : {1, 3, 1000}) {
      const auto out = decode(Compression::kGzip, blob, piece);

      ASSERT_TRUE(out) << out.error().message << " flags " << int{flags};
      EXPECT_EQ(*out, input);
    }
  }
}

TEST(GzipDecoder, RefusesASecondMemberCutWithinItsHeaderHoweverCut) {
  const Buffer first = gzip(sample(100));
  const Buffer second = gzip(sample(100), 2 | 4 | 8 | 16);
  const size_t header_size = 10 + 2 + 300 + 5 + 8 + 2;

  for (size_t size = 1; size <= header_size; ++size)
    for (const size_t piece : {size_t{1}, first.size() + size})
      EXPECT_FALSE(
          decode(Compression::kGzip, first + Buffer(second.begin(), second.begin() + size), piece))
          << size;
}

TEST(GzipDecoder, DoesNotTakeAZeroWithinAHeaderForPadding) {
  // The header's checksum is wrong and begins with a zero byte, in a piece of its own.
  const Buffer first = gzip(sample(100));
  Buffer second = gzip(sample(100), 2 | 16);
  second.resize(10 + 8);
  second.push_back(std::byte{0});

  EXPECT_FALSE(decode(Compression::kGzip, first + second, 1));
}

TEST(GzipDecoder, ChecksTheHeader) {
  const Buffer good = gzip(sample(100), 2 | 8);
  const auto fails_with = [&](size_t at, uint8_t value, std::string_view text) {
    Buffer bad = good;
    bad[at] = std::byte{value};
    const auto out = decode(Compression::kGzip, bad, 5);
    return !out && out.error().message.find(text) != std::string::npos;
  };

  EXPECT_TRUE(fails_with(0, 0x1e, "no gzip member"));
  EXPECT_TRUE(fails_with(2, 7, "compression method 7"));
  EXPECT_TRUE(fails_with(3, 0x2a, "reserved header flags 0x20"));
  EXPECT_TRUE(fails_with(5, 0, "header's checksum"));
  EXPECT_TRUE(fails_with(10, 'x', "header's checksum"));
}

TEST(GzipDecoder, ChecksEveryByteOfTheTrailer) {
  const Buffer good = gzip(sample(100));
  for (size_t back = 1; back <= 8; ++back) {
    for (const size_t piece : {1, 1000}) {
      Buffer bad = good;
      bad[bad.size() - back] ^= std::byte{1};

      const auto out = decode(Compression::kGzip, bad, piece);

      ASSERT_FALSE(out) << back << " from the end";
      EXPECT_NE(out.error().message.find("trailer"), std::string::npos);
    }
  }
}

TEST(GzipDecoder, AllowsZeroPaddingAndOnlyThat) {
  const Buffer input = sample(100);
  const Buffer padded = gzip(input) + Buffer(1000);
  const Buffer padded_then_member = padded + gzip(input);

  EXPECT_EQ(decode(Compression::kGzip, padded, 64).value(), input);
  EXPECT_FALSE(decode(Compression::kGzip, padded_then_member, 64));
  EXPECT_FALSE(decode(Compression::kGzip, Buffer(1000)));
}

TEST(GzipDecoder, NamesTheByteThatIsWrong) {
  const auto out = decode(Compression::kGzip, gzip(sample(100)) + sample(4));

  ASSERT_FALSE(out);
  EXPECT_EQ(out.error().message,
            fmt::format("gzip: at byte {} of the blob: no gzip member begins here",
                        gzip(sample(100)).size()));
}

TEST(ZstdLayerDecoder, SkipsSkippableFrames) {
  const Buffer skippable = {std::byte{0x5a}, std::byte{0x2a}, std::byte{0x4d}, std::byte{0x18},
                            std::byte{3},    std::byte{0},    std::byte{0},    std::byte{0},
                            std::byte{1},    std::byte{2},    std::byte{3}};
  const Buffer input = sample(100);

  for (const size_t piece : {1, 5, 1000})
    EXPECT_EQ(decode(Compression::kZstd, skippable + zstd(input) + skippable, piece).value(),
              input);
}

TEST(ZstdLayerDecoder, RefusesAHugeWindowAsUnsupported) {
  // A header that asks for a window of 2 GiB and does not state the content size.
  const Buffer frame = {std::byte{0x28}, std::byte{0xb5}, std::byte{0x2f},
                        std::byte{0xfd}, std::byte{0x00}, std::byte{21 << 3},
                        std::byte{0x01}, std::byte{0},    std::byte{0}};

  const auto out = decode(Compression::kZstd, frame);

  ASSERT_FALSE(out);
  EXPECT_EQ(out.error().code, Code::kUnsupported);
}

TEST(ZstdLayerDecoder, ReadsAFrameOfALongDistanceCompressor) {
  const Buffer input = sample(1 << 20);
  ZSTD_CCtx* context = ZSTD_createCCtx();
  ZSTD_CCtx_setParameter(context, ZSTD_c_enableLongDistanceMatching, 1);
  ZSTD_CCtx_setParameter(context, ZSTD_c_windowLog, 27);
  ZSTD_CCtx_setParameter(context, ZSTD_c_checksumFlag, 1);
  ZSTD_CCtx_setParameter(context, ZSTD_c_contentSizeFlag, 0);
  Buffer blob(ZSTD_compressBound(input.size()));
  ZSTD_inBuffer in{input.data(), input.size(), 0};
  ZSTD_outBuffer out{blob.data(), blob.size(), 0};
  ASSERT_EQ(ZSTD_compressStream2(context, &out, &in, ZSTD_e_end), 0u);
  ZSTD_freeCCtx(context);
  blob.resize(out.pos);

  EXPECT_EQ(decode(Compression::kZstd, blob, 1000).value(), input);
  blob.back() ^= std::byte{1};
  EXPECT_FALSE(decode(Compression::kZstd, blob));
}

TEST(ZstdLayerDecoder, RefusesTheFormatsFromBeforeTheStandard) {
  Buffer frame = zstd(sample(100));
  frame[0] = std::byte{0x27};

  const auto out = decode(Compression::kZstd, frame);

  ASSERT_FALSE(out);
  EXPECT_NE(out.error().message.find("no frame begins here"), std::string::npos);
}

}  // namespace
}  // namespace runnel::codec
