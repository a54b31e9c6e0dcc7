#include "convert/layer_converter.h"

namespace runnel::convert {

LayerConverter::LayerConverter(int fd, WorkerPool& pool, const oci::Digest& diff_id)
    : reader_(diff_id, *this),
      blob_(fd, pool),
      chunker_(artifact::kChunkSize,
               [this](Buffer chunk) { return blob_.add_chunk(std::move(chunk)); }) {}

LayerConverter::~LayerConverter() = default;

Result<void> LayerConverter::feed(Bytes bytes) {
  return reader_.feed(bytes);
}

Result<void> LayerConverter::entry(const tar::Entry& entry) {
  RUNNEL_TRY(file_, tree_.add(entry));
  if (!file_) return {};
  return artifact::begin_file(chunker_, entry);
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
  RUNNEL_DO(reader_.finish());
  Converted converted;
  converted.plain_bytes = reader_.plain_bytes();
  RUNNEL_TRY(converted.tree, tree_.finish());
  RUNNEL_DO(chunker_.finish());
  RUNNEL_TRY(converted.blob, blob_.finish(converted.tree));
  return converted;
}

}  // namespace runnel::convert
