#include "convert/layer_converter.h"

namespace runnel::convert {

namespace {

constexpr size_t kSignatureSize = 4;  // what codec::detect_compression wants to see

}  // namespace

LayerConverter::LayerConverter(int fd, WorkerPool& pool, const oci::Digest& diff_id)
    : diff_id_(diff_id),
      digest_(diff_id.algorithm()),
      blob_(fd, pool),
      chunker_(artifact::kChunkSize,
               [this](Buffer chunk) { return blob_.add_chunk(std::move(chunk)); }) {}

LayerConverter::~LayerConverter() = default;

Result<void> LayerConverter::feed(Bytes bytes) {
  if (decoder_) return decode(bytes);
  first_bytes_.insert(first_bytes_.end(), bytes.begin(), bytes.end());
  if (first_bytes_.size() < kSignatureSize) return {};
  decoder_ = codec::LayerDecoder::make(codec::detect_compression(first_bytes_));
  return decode(std::exchange(first_bytes_, {}));
}

Result<void> LayerConverter::decode(Bytes bytes) {
  return decoder_->feed(bytes, [this](Bytes decoded) { return plain(decoded); });
}

Result<void> LayerConverter::plain(Bytes bytes) {
  digest_.update(bytes);
  plain_bytes_ += bytes.size();
  return tar_.feed(bytes, *this);
}

Result<void> LayerConverter::entry(const tar::Entry& entry) {
  RUNNEL_TRY(file_, tree_.add(entry));
  if (!file_) return {};
  std::vector<artifact::DataRange> ranges;
  for (const auto& extent : entry.data_extents) ranges.push_back({extent.offset, extent.length});
  return chunker_.begin_file(entry.size, ranges);
}

Result<void> LayerConverter::data(uint64_t offset, Bytes bytes) {
  return file_ ? chunker_.write(offset, bytes) : Result<void>();
}

Result<void> LayerConverter::entry_end() {
  if (!file_) return {};
  RUNNEL_TRY(auto extents, chunker_.end_file());
  tree_.set_extents(*file_, std::move(extents));
  file_.reset();
  return {};
}

Result<LayerConverter::Converted> LayerConverter::finish() {
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
  Converted converted;
  converted.plain_bytes = plain_bytes_;
  RUNNEL_TRY(converted.tree, tree_.finish());
  RUNNEL_DO(chunker_.finish());
  RUNNEL_TRY(converted.blob, blob_.finish(converted.tree));
  return converted;
}

}  // namespace runnel::convert
