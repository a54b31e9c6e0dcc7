#include "convert/layer_converter.h"

#include <utility>

namespace runnel::convert {

LayerConverter::LayerConverter(int fd, WorkerPool& pool, const oci::Digest& diff_id,
                               const artifact::LayerLimits& limits)
    : blob_(fd, pool), layout_(diff_id, artifact::kChunkSize, chunk_sink(), limits, &pool) {}

LayerConverter::LayerConverter(std::unique_ptr<artifact::BlobSink> sink, WorkerPool& pool,
                               const oci::Digest& diff_id, const artifact::LayerLimits& limits)
    : blob_(std::move(sink), pool),
      layout_(diff_id, artifact::kChunkSize, chunk_sink(), limits, &pool) {}

artifact::Chunker::Sink LayerConverter::chunk_sink() {
  return [this](Buffer chunk) { return blob_.add_chunk(std::move(chunk)); };
}

Result<LayerConverter::Converted> LayerConverter::finish() {
  Converted converted;
  RUNNEL_TRY(converted.tree, layout_.finish());
  converted.plain_bytes = layout_.plain_bytes();
  RUNNEL_TRY(converted.blob, blob_.finish(converted.tree));
  return converted;
}

}  // namespace runnel::convert
