// zstd (RFC 8878) as a stream: one or more frames one after the other, skippable ones among them.
// Frames from a compressor in streaming mode do not state their size, so nothing is asked of it;
// the window is what bounds memory.
#include "codec/zstd_decoder.h"

#include <zstd.h>
#include <zstd_errors.h>

#include <array>

namespace runnel::codec {
namespace {

// 128 MiB, what `zstd -d` allows without being told more; `zstd --ultra -22` needs it.
constexpr int kMaxWindowLog = 27;
constexpr size_t kOutputSize = 256 * 1024;

class ZstdDecoder : public LayerDecoder {
 public:
  ZstdDecoder() : context_(ZSTD_createDCtx()), output_(kOutputSize) {
    RUNNEL_CHECK(context_ != nullptr);
    RUNNEL_CHECK(
        !ZSTD_isError(ZSTD_DCtx_setParameter(context_.get(), ZSTD_d_windowLogMax, kMaxWindowLog)));
  }

 private:
  Result<void> decode(Bytes input, const Sink& sink) override {
    while (!input.empty()) {
      if (magic_size_ < magic_.size()) {
        magic_[magic_size_++] = input[0];
        input = input.subspan(1);
        if (magic_size_ < magic_.size()) continue;
        RUNNEL_DO(check_magic());
        RUNNEL_TRY(const size_t taken, decode_frame(magic_, sink));
        RUNNEL_CHECK(taken == magic_.size());
      } else {
        RUNNEL_TRY(const size_t taken, decode_frame(input, sink));
        input = input.subspan(taken);
      }
    }
    return {};
  }

  Result<void> end() override {
    if (frames_ > 0 && magic_size_ == 0) return {};
    return fail(Code::kInvalid, "zstd: the blob was cut short after {} bytes",
                offset_ + (magic_size_ < magic_.size() ? magic_size_ : 0));
  }

  // The library may also be built with decoders of formats from before 2016, which do not keep the
  // window limit; no image needs them.
  Result<void> check_magic() const {
    const auto magic = load_le<uint32_t>(magic_.data());
    if (magic == ZSTD_MAGICNUMBER ||
        (magic & ZSTD_MAGIC_SKIPPABLE_MASK) == ZSTD_MAGIC_SKIPPABLE_START)
      return {};
    return fail(Code::kInvalid, "zstd: at byte {} of the blob: no frame begins here", offset_);
  }

  // Decodes within one frame: how many bytes of `input` it took, which is all unless it ended.
  Result<size_t> decode_frame(Bytes input, const Sink& sink) {
    ZSTD_inBuffer in{input.data(), input.size(), 0};
    bool output_was_full = false;
    while (in.pos < in.size || output_was_full) {
      ZSTD_outBuffer out{output_.data(), output_.size(), 0};
      const size_t outcome = ZSTD_decompressStream(context_.get(), &out, &in);
      if (ZSTD_isError(outcome)) return broken(offset_ + in.pos, outcome);
      if (out.pos > 0) RUNNEL_DO(sink(Bytes(output_).first(out.pos)));
      if (outcome == 0) {
        ++frames_;
        magic_size_ = 0;
        break;
      }
      output_was_full = out.pos == out.size;
    }
    offset_ += in.pos;
    return in.pos;
  }

  static std::unexpected<Error> broken(uint64_t offset, size_t outcome) {
    const bool window = ZSTD_getErrorCode(outcome) == ZSTD_error_frameParameter_windowTooLarge;
    if (window)
      return fail(Code::kUnsupported,
                  "zstd: at byte {} of the blob: a frame needs a window above "
                  "128 MiB; compress the layer without --long=28 or more",
                  offset);
    return fail(Code::kInvalid, "zstd: at byte {} of the blob: {}", offset,
                ZSTD_getErrorName(outcome));
  }

  struct FreeContext {
    void operator()(ZSTD_DCtx* context) const { ZSTD_freeDCtx(context); }
  };
  std::unique_ptr<ZSTD_DCtx, FreeContext> context_;
  Buffer output_;
  uint64_t offset_ = 0;
  uint64_t frames_ = 0;                  // whole ones
  std::array<std::byte, 4> magic_ = {};  // of the frame that is being decoded
  size_t magic_size_ = 0;                // bytes of it that have come
};

}  // namespace

std::unique_ptr<LayerDecoder> make_zstd_decoder() {
  return std::make_unique<ZstdDecoder>();
}

}  // namespace runnel::codec
