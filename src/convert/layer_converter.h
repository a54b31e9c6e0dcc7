// One source layer, as its bytes arrive, into a layer blob.
#pragma once

#include <memory>

#include "artifact/layer_blob.h"
#include "artifact/layer_layout.h"
#include "base/bytes.h"
#include "base/error.h"
#include "base/worker_pool.h"
#include "oci/digest.h"

namespace runnel::convert {

// Decodes, reads the tar, lays out and compresses; memory is bounded whatever the layer's size. One
// thread feeds it; compression and hashing run on the pool.
//
// Errors are final and say which entry or byte of the layer is wrong.
class LayerConverter {
 public:
  // Writes to `fd`, which is empty and outlives the converter, as does the pool. `diff_id` is what
  // the image's configuration says of the layer.
  LayerConverter(int fd, WorkerPool& pool, const oci::Digest& diff_id,
                 const artifact::LayerLimits& limits = {});
  LayerConverter(std::unique_ptr<artifact::BlobSink> sink, WorkerPool& pool,
                 const oci::Digest& diff_id, const artifact::LayerLimits& limits = {});

  // The next bytes of the layer as the registry has it.
  Result<void> feed(Bytes bytes) { return layout_.feed(bytes); }

  struct Converted {
    artifact::LayerBlobWriter::Written blob;
    artifact::LayerTree tree;
    uint64_t plain_bytes = 0;  // of the tar
  };
  // The layer has ended. kInvalid unless its plain bytes have the diff ID.
  Result<Converted> finish();

 private:
  artifact::Chunker::Sink chunk_sink();

  artifact::LayerBlobWriter blob_;
  artifact::LayerLayout layout_;
};

}  // namespace runnel::convert
