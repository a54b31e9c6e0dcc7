#include "artifact/layer_layout.h"

#include <utility>

namespace runnel::artifact {

LayerLayout::LayerLayout(const oci::Digest& diff_id, uint32_t chunk_size, Chunker::Sink sink,
                         const LayerLimits& limits, WorkerPool* hashing)
    : reader_(diff_id, *this, limits, hashing),
      max_entries_(limits.max_entries),
      chunker_(chunk_size, std::move(sink)) {}

Result<LayerTree> LayerLayout::finish() {
  RUNNEL_DO(reader_.finish());
  RUNNEL_DO(chunker_.finish());
  return tree_.finish();
}

Result<void> LayerLayout::entry(const tar::Entry& entry) {
  if (++entries_ > max_entries_) {
    return fail(Code::kExhausted, "it has more than {} entries", max_entries_);
  }
  RUNNEL_TRY(file_, tree_.add(entry));
  return file_ ? begin_file(chunker_, entry) : Result<void>();
}

Result<void> LayerLayout::data(uint64_t offset, Bytes bytes) {
  return file_ ? chunker_.write(offset, bytes) : Result<void>();
}

Result<void> LayerLayout::entry_end() {
  if (!file_) return {};
  RUNNEL_TRY(auto extents, chunker_.end_file());
  tree_.set_extents(*file_, std::move(extents));
  file_.reset();
  return {};
}

}  // namespace runnel::artifact
