// The frame header's fields that are looked at before anything is decoded (RFC 8878, 3.1.1.1):
// magic number, Frame_Content_Size, Window_Size and Dictionary_ID. zstd's own call for it,
// ZSTD_getFrameHeader, is in the part of its interface that needs static linking, so the four
// fields are read here.
//
//   0  magic 28 b5 2f fd
//   4  descriptor: bits 7-6 size of content-size field, 5 single segment, 3 reserved (0),
//      2 checksum, 1-0 size of dictionary id
//   5  window descriptor, absent if single segment: bits 7-3 exponent, 2-0 mantissa
//   .  dictionary id (0, 1, 2, 4 bytes), content size (0 or 1, 2, 4, 8 bytes)
#include "codec/zstd.h"

#include <zstd.h>

#include <algorithm>

namespace runnel::codec {
namespace {

constexpr uint32_t kFrameMagic = 0xfd2fb528;
// The smallest window that the format can state; a tiny frame cannot ask for less.
constexpr uint64_t kMinWindow = 1024;

// Window_Size of a header that is known to be whole; the content size if it is a single segment.
uint64_t window_size(Bytes frame, uint64_t content_size) {
  const auto descriptor = std::to_integer<uint8_t>(frame[4]);
  if ((descriptor & 0x20) != 0) return content_size;
  const auto window = std::to_integer<uint8_t>(frame[5]);
  const uint64_t base = uint64_t{1} << (10 + (window >> 3));
  return base + base / 8 * (window & 7);
}

Result<void> check_frame(Bytes frame, uint64_t expected_size) {
  if (frame.size() < 6 || load_le<uint32_t>(frame.data()) != kFrameMagic)
    return fail(Code::kInvalid, "zstd: the {} bytes do not begin with a frame", frame.size());

  const unsigned long long content = ZSTD_getFrameContentSize(frame.data(), frame.size());
  if (content == ZSTD_CONTENTSIZE_ERROR || content == ZSTD_CONTENTSIZE_UNKNOWN)
    return fail(Code::kInvalid, "zstd: the frame header does not state the content size");
  if (content != expected_size)
    return fail(Code::kInvalid, "zstd: the frame holds {} bytes where {} were expected", content,
                expected_size);
  if (const uint64_t window = window_size(frame, content);
      window > std::max(content, 0ULL + kMinWindow))
    return fail(Code::kInvalid, "zstd: the frame asks for a window of {} bytes to hold {}", window,
                content);
  if (ZSTD_getDictID_fromFrame(frame.data(), frame.size()) != 0)
    return fail(Code::kInvalid, "zstd: the frame needs a dictionary");

  const size_t frame_size = ZSTD_findFrameCompressedSize(frame.data(), frame.size());
  if (ZSTD_isError(frame_size))
    return fail(Code::kInvalid, "zstd: {}", ZSTD_getErrorName(frame_size));
  if (frame_size != frame.size())
    return fail(Code::kInvalid, "zstd: {} bytes follow the frame", frame.size() - frame_size);
  return {};
}

}  // namespace

std::string zstd_version() {
  return ZSTD_versionString();
}

void ZstdCompressor::FreeContext::operator()(ZSTD_CCtx_s* context) const {
  ZSTD_freeCCtx(context);
}

ZstdCompressor::ZstdCompressor(int level) : context_(ZSTD_createCCtx()) {
  RUNNEL_CHECK(context_ != nullptr);
  const int known = std::clamp(level, ZSTD_minCLevel(), ZSTD_maxCLevel());
  const auto set = [this](ZSTD_cParameter parameter, int value) {
    RUNNEL_CHECK(!ZSTD_isError(ZSTD_CCtx_setParameter(context_.get(), parameter, value)));
  };
  set(ZSTD_c_compressionLevel, known);
  set(ZSTD_c_contentSizeFlag, 1);
  set(ZSTD_c_checksumFlag, 0);
}

Buffer ZstdCompressor::compress(Bytes input) {
  const size_t bound = ZSTD_compressBound(input.size());
  RUNNEL_CHECK(!ZSTD_isError(bound));
  if (scratch_.size() < bound) scratch_.resize(bound);
  const size_t size =
      ZSTD_compress2(context_.get(), scratch_.data(), scratch_.size(), input.data(), input.size());
  // With room for the bound only a lack of memory can fail, and that ends the process everywhere.
  RUNNEL_CHECK(!ZSTD_isError(size));
  return Buffer(scratch_.begin(), scratch_.begin() + static_cast<ptrdiff_t>(size));
}

void ZstdDecompressor::FreeContext::operator()(ZSTD_DCtx_s* context) const {
  ZSTD_freeDCtx(context);
}

ZstdDecompressor::ZstdDecompressor() : context_(ZSTD_createDCtx()) {
  RUNNEL_CHECK(context_ != nullptr);
}

Result<void> ZstdDecompressor::decompress(Bytes frame, MutableBytes out) {
  RUNNEL_DO(check_frame(frame, out.size()));
  const size_t size =
      ZSTD_decompressDCtx(context_.get(), out.data(), out.size(), frame.data(), frame.size());
  if (ZSTD_isError(size)) return fail(Code::kInvalid, "zstd: {}", ZSTD_getErrorName(size));
  if (size != out.size())
    return fail(Code::kInvalid, "zstd: the frame gave {} bytes where {} were expected", size,
                out.size());
  return {};
}

Result<void> ZstdDecompressor::decompress(Bytes frame, uint64_t size, const Consume& consume) {
  RUNNEL_DO(check_frame(frame, size));
  RUNNEL_CHECK(!ZSTD_isError(ZSTD_DCtx_reset(context_.get(), ZSTD_reset_session_only)));
  Buffer piece(ZSTD_DStreamOutSize());
  ZSTD_inBuffer in{.src = frame.data(), .size = frame.size(), .pos = 0};
  uint64_t given = 0;
  for (size_t wanted = 1; wanted != 0;) {
    ZSTD_outBuffer out{.dst = piece.data(), .size = piece.size(), .pos = 0};
    wanted = ZSTD_decompressStream(context_.get(), &out, &in);
    if (ZSTD_isError(wanted)) return fail(Code::kInvalid, "zstd: {}", ZSTD_getErrorName(wanted));
    given += out.pos;
    const bool stuck = wanted != 0 && in.pos == in.size && out.pos == 0;
    if (given > size || stuck)
      return fail(Code::kInvalid, "zstd: the frame gave {} bytes where {} were expected", given,
                  size);
    if (out.pos > 0) RUNNEL_DO(consume(Bytes(piece).first(out.pos)));
  }
  if (given != size)
    return fail(Code::kInvalid, "zstd: the frame gave {} bytes where {} were expected", given,
                size);
  return {};
}

}  // namespace runnel::codec
