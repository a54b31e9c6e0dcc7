// From the bytes of a layer blob to the bytes of its tar archive, in a stream and in bounded
// memory: 350 KB for gzip, the frame's window (at most 128 MiB) for zstd, nothing for plain.
//
//   auto decoder = LayerDecoder::make(compression);
//   while (bytes come) RUNNEL_DO(decoder->feed(bytes, sink));
//   RUNNEL_DO(decoder->finish());
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <string_view>

#include "base/bytes.h"
#include "base/error.h"

namespace runnel::codec {

enum class Compression : uint8_t { kNone, kGzip, kZstd };

const char* to_string(Compression compression);

// What a layer of this media type is compressed with, for the layer types of OCI and Docker, the
// non-distributable ones too. kUnsupported for any other type.
Result<Compression> compression_of(std::string_view media_type);

// What the blob's first bytes say (four are enough). Some registries and builders label layers
// wrongly, so when this and the media type differ, this is right.
Compression detect_compression(Bytes first_bytes);

class LayerDecoder {
 public:
  // Gets decoded bytes, never an empty piece; they are gone when it returns. An error from it ends
  // the decoding and comes out of feed() as it is.
  using Sink = std::function<Result<void>(Bytes)>;

  static std::unique_ptr<LayerDecoder> make(Compression compression);
  virtual ~LayerDecoder() = default;

  // Decodes all of `input`, which may be cut anywhere. kInvalid when it breaks the format or fails
  // its checksum; kUnsupported for a zstd window above 128 MiB. After an error the decoder is done
  // for: further calls return the same error.
  Result<void> feed(Bytes input, const Sink& sink);

  // Call once after the last feed(). kInvalid when the blob was cut short.
  Result<void> finish();

 private:
  virtual Result<void> decode(Bytes input, const Sink& sink) = 0;
  virtual Result<void> end() = 0;

  Result<void> state_;
};

}  // namespace runnel::codec
