#include "artifact/layer_reader.h"

#include <utility>

namespace runnel::artifact {

namespace {

constexpr size_t kSignatureSize = 4;  // what codec::detect_compression wants to see

}  // namespace

LayerReader::LayerReader(const oci::Digest& diff_id, tar::Handler& handler,
                         const LayerLimits& limits, WorkerPool* hashing)
    : diff_id_(diff_id),
      handler_(handler),
      limits_(limits),
      digest_(diff_id.algorithm(), hashing) {}

LayerReader::~LayerReader() = default;

Result<void> LayerReader::feed(Bytes bytes) {
  if (decoder_) return decode(bytes);
  first_bytes_.insert(first_bytes_.end(), bytes.begin(), bytes.end());
  if (first_bytes_.size() < kSignatureSize) return {};
  decoder_ = codec::LayerDecoder::make(codec::detect_compression(first_bytes_));
  return decode(std::exchange(first_bytes_, {}));
}

Result<void> LayerReader::decode(Bytes bytes) {
  return decoder_->feed(bytes, [this](Bytes decoded) { return plain(decoded); });
}

Result<void> LayerReader::plain(Bytes bytes) {
  plain_bytes_ += bytes.size();
  if (plain_bytes_ > limits_.max_plain_bytes) {
    return fail(Code::kExhausted, "it inflates to more than {} bytes", limits_.max_plain_bytes);
  }
  digest_.update(bytes);
  return tar_.feed(bytes, handler_);
}

Result<void> LayerReader::finish() {
  if (!decoder_) {
    decoder_ = codec::LayerDecoder::make(codec::detect_compression(first_bytes_));
    RUNNEL_DO(decode(std::exchange(first_bytes_, {})));
  }
  RUNNEL_DO(decoder_->finish());
  RUNNEL_DO(tar_.finish());
  if (const auto digest = digest_.finish(); digest != diff_id_) {
    return fail(Code::kInvalid, "its plain bytes are {}, but the image's configuration says {}",
                digest, diff_id_);
  }
  return {};
}

}  // namespace runnel::artifact
