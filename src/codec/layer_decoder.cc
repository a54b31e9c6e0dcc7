#include "codec/layer_decoder.h"

#include <array>

#include "base/quote.h"
#include "codec/gzip_decoder.h"
#include "codec/zstd_decoder.h"

namespace runnel::codec {
namespace {

class PlainDecoder : public LayerDecoder {
  Result<void> decode(Bytes input, const Sink& sink) override { return sink(input); }
  Result<void> end() override { return {}; }
};

struct MediaType {
  std::string_view name;
  Compression compression;
};

constexpr std::array kLayerTypes = {
    MediaType{"application/vnd.oci.image.layer.v1.tar", Compression::kNone},
    MediaType{"application/vnd.oci.image.layer.v1.tar+gzip", Compression::kGzip},
    MediaType{"application/vnd.oci.image.layer.v1.tar+zstd", Compression::kZstd},
    MediaType{"application/vnd.oci.image.layer.nondistributable.v1.tar", Compression::kNone},
    MediaType{"application/vnd.oci.image.layer.nondistributable.v1.tar+gzip", Compression::kGzip},
    MediaType{"application/vnd.oci.image.layer.nondistributable.v1.tar+zstd", Compression::kZstd},
    MediaType{"application/vnd.docker.image.rootfs.diff.tar", Compression::kNone},
    MediaType{"application/vnd.docker.image.rootfs.diff.tar.gzip", Compression::kGzip},
    MediaType{"application/vnd.docker.image.rootfs.diff.tar.zstd", Compression::kZstd},
    MediaType{"application/vnd.docker.image.rootfs.foreign.diff.tar", Compression::kNone},
    MediaType{"application/vnd.docker.image.rootfs.foreign.diff.tar.gzip", Compression::kGzip},
    MediaType{"application/vnd.docker.image.rootfs.foreign.diff.tar.zstd", Compression::kZstd},
};

}  // namespace

const char* to_string(Compression compression) {
  switch (compression) {
    case Compression::kNone: return "none";
    case Compression::kGzip: return "gzip";
    case Compression::kZstd: return "zstd";
  }
  return "unknown";
}

Result<Compression> compression_of(std::string_view media_type) {
  for (const auto& known : kLayerTypes)
    if (known.name == media_type) return known.compression;
  return fail(Code::kUnsupported, "media type {} is not an image layer that can be read",
              quote(media_type));
}

Compression detect_compression(Bytes first_bytes) {
  const auto begins_with = [&](std::string_view magic) {
    return as_text(first_bytes).starts_with(magic);
  };
  if (begins_with("\x1f\x8b\x08")) return Compression::kGzip;
  if (begins_with("\x28\xb5\x2f\xfd")) return Compression::kZstd;
  // A skippable frame, 0x184d2a50 to 5f: pzstd and seekable archives may begin with one.
  if (first_bytes.size() >= 4 && (load_le<uint32_t>(first_bytes.data()) & ~0xfu) == 0x184d2a50)
    return Compression::kZstd;
  return Compression::kNone;
}

std::unique_ptr<LayerDecoder> LayerDecoder::make(Compression compression) {
  switch (compression) {
    case Compression::kNone: return std::make_unique<PlainDecoder>();
    case Compression::kGzip: return make_gzip_decoder();
    case Compression::kZstd: return make_zstd_decoder();
  }
  RUNNEL_CHECK(false);
}

Result<void> LayerDecoder::feed(Bytes input, const Sink& sink) {
  if (state_ && !input.empty()) state_ = decode(input, sink);
  return state_;
}

Result<void> LayerDecoder::finish() {
  if (state_) state_ = end();
  return state_;
}

}  // namespace runnel::codec
