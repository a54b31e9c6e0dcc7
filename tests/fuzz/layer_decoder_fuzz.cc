// Any bytes as a compressed layer: no crash; whether they decode, and to what, does not depend on
// how the input is cut into pieces; and for gzip zlib says the same.
//
// links: codec ZLIB::ZLIB
#include <zlib.h>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "base/error.h"
#include "codec/layer_decoder.h"

using runnel::Bytes;
using runnel::Code;
using runnel::Result;
using runnel::codec::Compression;
using runnel::codec::LayerDecoder;

namespace {

// A small input can hold a gigabyte of zeros; that shows nothing new after the first megabytes.
constexpr size_t kEnough = 4 << 20;
constexpr size_t kPlainHeader = 10;
constexpr size_t kTrailer = 8;

Result<std::string> decode(Compression compression, Bytes blob, size_t piece) {
  auto decoder = LayerDecoder::make(compression);
  std::string out;
  const auto sink = [&](Bytes bytes) -> Result<void> {
    RUNNEL_CHECK(!bytes.empty());
    out += runnel::as_text(bytes);
    if (out.size() > kEnough) return runnel::fail(Code::kCancelled, "enough");
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

// Inflates what begins at `input`, with zlib's idea of what wraps it, and takes it off `input`;
// false when it is broken or gives more than enough.
bool inflate_one(std::span<const uint8_t>& input, int window_bits, std::string& out) {
  z_stream stream = {};
  RUNNEL_CHECK(::inflateInit2(&stream, window_bits) == Z_OK);
  stream.next_in = const_cast<uint8_t*>(input.data());
  stream.avail_in = static_cast<uInt>(input.size());
  std::vector<uint8_t> buffer(65536);
  int outcome = Z_OK;
  while (outcome == Z_OK && out.size() <= kEnough) {
    stream.next_out = buffer.data();
    stream.avail_out = static_cast<uInt>(buffer.size());
    outcome = ::inflate(&stream, Z_NO_FLUSH);
    out.append(reinterpret_cast<char*>(buffer.data()), buffer.size() - stream.avail_out);
  }
  input = input.last(stream.avail_in);
  ::inflateEnd(&stream);
  return outcome == Z_STREAM_END;
}

// What zlib makes of members, one after the other, and zero padding.
std::optional<std::string> decode_with_zlib(std::span<const uint8_t> blob) {
  std::string out;
  if (blob.empty()) return std::nullopt;
  while (!blob.empty()) {
    if (!inflate_one(blob, 15 + 16, out)) return std::nullopt;
    const bool padded = std::ranges::all_of(blob, [](uint8_t byte) { return byte == 0; });
    if (padded) return out;
  }
  return out;
}

}  // namespace

extern "C" size_t LLVMFuzzerMutate(uint8_t* data, size_t size, size_t max_size);

// Mutated deflate data is worth little without the right trailer behind it, so most mutations of
// a member with a plain header put one there.
extern "C" size_t LLVMFuzzerCustomMutator(uint8_t* data, size_t size, size_t max_size,
                                          unsigned seed) {
  size = LLVMFuzzerMutate(data, size, max_size);
  if (seed % 4 == 0 || size < kPlainHeader || data[0] != 0x1f || data[3] != 0) return size;
  std::span<const uint8_t> rest(data + kPlainHeader, size - kPlainHeader);
  std::string out;
  if (!inflate_one(rest, -15, out)) return size;
  const size_t at = size - rest.size();
  if (at + kTrailer > max_size) return size;
  const auto crc = static_cast<uint32_t>(
      ::crc32(0, reinterpret_cast<const uint8_t*>(out.data()), static_cast<uInt>(out.size())));
  const auto length = static_cast<uint32_t>(out.size());
  std::memcpy(data + at, &crc, sizeof crc);
  std::memcpy(data + at + sizeof crc, &length, sizeof length);
  return std::max(size, at + kTrailer);
}

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const Bytes blob = std::as_bytes(std::span(data, size));
  const bool is_zstd = runnel::codec::detect_compression(blob) == Compression::kZstd;
  const auto compression = is_zstd ? Compression::kZstd : Compression::kGzip;

  const auto whole = decode(compression, blob, SIZE_MAX);
  const auto pieces = decode(compression, blob, 1 + size % 61);

  RUNNEL_CHECK(whole.has_value() == pieces.has_value());
  if (whole) RUNNEL_CHECK(*whole == *pieces);
  const bool too_much = !whole && whole.error().code == Code::kCancelled;
  if (is_zstd || too_much) return 0;
  const auto expected = decode_with_zlib(std::span(data, size));
  RUNNEL_CHECK(expected.has_value() == whole.has_value());
  if (whole) RUNNEL_CHECK(*whole == *expected);
  return 0;
}
