// Chunks as zstd frames (RFC 8878): one chunk is one frame, made and opened in one call.
#pragma once

#include <functional>
#include <memory>
#include <string>

#include "base/bytes.h"
#include "base/error.h"

struct ZSTD_CCtx_s;
struct ZSTD_DCtx_s;

namespace runnel::codec {

// The linked library's version, "1.5.4": it decides the exact bytes that a compressor makes.
std::string zstd_version();

class ZstdCompressor {
 public:
  // `level` as zstd counts; what the library does not have is taken to its nearest end.
  explicit ZstdCompressor(int level);

  // One frame that holds all of `input`: its header states the content size, there is no checksum
  // (the caller has a digest of its own). The same input gives the same bytes for one zstd version
  // and level, whatever was compressed before.
  Buffer compress(Bytes input);

 private:
  struct FreeContext {
    void operator()(ZSTD_CCtx_s* context) const;
  };
  std::unique_ptr<ZSTD_CCtx_s, FreeContext> context_;
  Buffer scratch_;
};

class ZstdDecompressor {
 public:
  ZstdDecompressor();

  // Fills `out` exactly. kInvalid unless `frame` is one whole frame and nothing else, states
  // out.size() as its content size, asks for no dictionary and for no larger window than that
  // content needs. After a failure `out` may hold anything.
  Result<void> decompress(Bytes frame, MutableBytes out);

  // The same content, `size` bytes, in order and in pieces of at most 128 KiB: needs memory for the
  // frame's window (2 MiB at level 3) and not for the content. kInvalid for a window of more than
  // 128 MiB too, which no level makes. Ends with an error of `consume`. What was handed out before
  // a failure may be anything.
  using Consume = std::function<Result<void>(Bytes)>;
  Result<void> decompress(Bytes frame, uint64_t size, const Consume& consume);

 private:
  struct FreeContext {
    void operator()(ZSTD_DCtx_s* context) const;
  };
  std::unique_ptr<ZSTD_DCtx_s, FreeContext> context_;
};

}  // namespace runnel::codec
